package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/internal/jsonerror"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

func (a App) routeCommands() []cli.Command {
	const rules = `<container> '[{"dest":"default","gw":"192.168.10.1"},{"dest":"100.10.0.0/16","dev":"eth0","src":"1.1.1.2","metric":"200"}]'`
	return []cli.Command{
		{
			Name:      "add-route",
			Usage:     "add routes to a container",
			ArgsUsage: rules,
			Flags:     []cli.Flag{configOnlyFlag, dryRunFlag},
			Action:    func(c *cli.Context) error { return a.routeChange(c, "add", resource.Stop, (*session).addRoutes) },
		},
		{
			Name:      "remove-route",
			Usage:     "remove the routes that match a rule from a container; a field that is not given matches every value",
			ArgsUsage: rules,
			Flags:     []cli.Flag{configOnlyFlag, forgetFlag, dryRunFlag},
			Action:    func(c *cli.Context) error { return a.routeChange(c, "remove", resource.Skip, (*session).removeRoutes) },
		},
		{
			Name:      "list-route",
			Usage:     "list the routes added to a container",
			ArgsUsage: "<container>",
			Flags: []cli.Flag{prettyFlag, formatFlag, cli.StringFlag{
				Name: "filter, f", Usage: "only those that match this `JSON`, as '{\"dest\":\"1.1.1.0/24\",\"gw\":\"10.1.1.254\"}'",
			}},
			Action: a.listRoutes,
		},
	}
}

// routeChange adds or removes the routes of the second argument.
func (a App) routeChange(c *cli.Context, verb string, p resource.Policy, plan func(*session, []network.Route) error) error {
	if c.NArg() < 2 {
		return usageError(c, "must accept container-id and rules")
	}
	id, err := trimmedName(c.Args().First())
	if err != nil {
		return err
	}
	rules, err := parseRules(c.Args().Get(1))
	if err != nil {
		return err
	}
	if c.NArg() > 2 {
		return usageError(c, "takes no further arguments: %s", strings.Join(c.Args()[2:], " "))
	}
	prefix := "failed to " + verb + " route: "
	if verb == "add" {
		for _, r := range rules {
			if err := r.Check(); err != nil {
				return errors.New(prefix + err.Error())
			}
		}
	}
	return a.networkChange(c, id, prefix, p, func(s *session) error { return plan(s, rules) })
}

func (s *session) addRoutes(rules []network.Route) error {
	routes, err := network.Routes.Edit(s.change)
	if err = cmp.Or(err, s.hasNet()); err != nil {
		return err
	}
	nics, err := config.List[network.NIC](s.doc, config.NetInterfaces)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if slices.ContainsFunc(routes.Records(), r.Same) {
			routes.Fail("add", r, fmt.Errorf("route %s alread exist", r))
			continue
		}
		task := routes.Add(r)
		task.Offline = func(context.Context) error { return resource.Warn(r.CheckReached(nics, routes.Records())) }
		s.printOnSuccess(task, "Add route to container %s, route: %s done", s.name, r)
	}
	return nil
}

func (s *session) removeRoutes(filters []network.Route) error {
	routes, err := network.Routes.Edit(s.change)
	if err != nil {
		return err
	}
	for _, filter := range filters {
		found := false
		for _, r := range routes.Records() {
			if r.Matches(filter) {
				found = true
				s.printOnSuccess(routes.Remove(r), "Remove route from container %s, route: %s done", s.name, r)
			}
		}
		if !found {
			//lint:ignore ST1005 the wording of v0.9
			routes.Fail("remove", filter, fmt.Errorf("Route(%s) is not added by %s, can not remove it, please check input parameter.", filter, s.app.Name))
		}
	}
	return nil
}

func (a App) listRoutes(c *cli.Context) error {
	if c.NArg() == 0 {
		return usageError(c, "must accept container-id")
	}
	id, err := networkContainer(c)
	if err != nil {
		return err
	}
	filter, err := parseFilter[network.Route](c.String("filter"), "malformed filter format")
	if err != nil {
		return err
	}
	return a.networkList(c, id, "route", func(d *config.Document) (any, error) {
		list, err := config.List[network.Route](d, config.NetRoutes)
		return nilIfEmpty(slices.DeleteFunc(slices.Clone(list), func(r network.Route) bool { return !r.Matches(filter) })), err
	})
}

// parseRules reads a list of routes. Its keys are of any case, unknown ones are
// refused, and so is null in the place of a rule or a text.
func parseRules(text string) ([]network.Route, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("rule can't be empty")
	}
	malformed := func(err error) error { return fmt.Errorf("malformed rule format: %w", err) }
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, malformed(jsonerror.Line(err))
	}
	if list == nil {
		return nil, malformed(errors.New("want array, found null"))
	}
	rules := make([]network.Route, len(list))
	for i, raw := range list {
		if err := parseRule(raw, &rules[i]); err != nil {
			return nil, malformed(fmt.Errorf("rule %d: %w", i+1, err))
		}
	}
	return rules, nil
}

func parseRule(raw json.RawMessage, r *network.Route) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return jsonerror.Line(err)
	}
	if fields == nil {
		return errors.New("want object, found null")
	}
	known := map[string]*string{"dest": &r.Dest, "src": &r.Src, "gw": &r.GW, "dev": &r.Dev, "metric": (*string)(&r.Metric)}
	for key, raw := range fields {
		name := strings.ToLower(key)
		to := known[name]
		if to == nil {
			return fmt.Errorf("unknown key %q", key)
		}
		value, err := ruleText(raw, name == "metric")
		switch {
		case err != nil:
			return err
		case value == nil:
			return fmt.Errorf("%s: want string, found null", key)
		case *to != "" && *value != "":
			return fmt.Errorf("%s: given twice", name)
		case *value != "":
			*to = *value
		}
	}
	return nil
}

// ruleText is the value of a rule's key; a metric may be a number. nil: null.
func ruleText(raw json.RawMessage, metric bool) (*string, error) {
	var text *string
	var err error
	if metric {
		var m *network.Metric
		err = json.Unmarshal(raw, &m)
		text = (*string)(m)
	} else {
		err = json.Unmarshal(raw, &text)
	}
	if err != nil {
		return nil, jsonerror.Line(err)
	}
	return text, nil
}
