package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/network"
	"isula.org/isulad-tools/resource"
)

func (a App) nicCommands() []cli.Command {
	name := cli.StringFlag{Name: "name", Usage: "its name, `[HOST:]CONTAINER`; without HOST a veth gets a made-up name on the host"}
	options := func(mtu, qlen int, more ...cli.Flag) []cli.Flag {
		return append(more,
			cli.StringFlag{Name: "ip", Usage: "its `ADDRESS/LENGTH`, such as 172.17.28.2/24 or fd00::2/64; none for no address (DHCP in the container)"},
			cli.StringFlag{Name: "mac", Usage: "its hardware `ADDRESS`, such as 00:ff:48:23:e2:bb"},
			cli.StringFlag{Name: "bridge", Usage: "the `BRIDGE`, of Linux or Open vSwitch, that a veth is a port of"},
			cli.IntFlag{Name: "mtu", Value: mtu, Usage: "its maximum transmission unit in `BYTES`"},
			cli.IntFlag{Name: "qlen", Value: qlen, Usage: "the length of its transmit queue in `PACKETS`"},
			configOnlyFlag, dryRunFlag,
		)
	}
	return []cli.Command{
		{
			Name:      "add-nic",
			Usage:     "add a network interface to a container",
			ArgsUsage: "<container>",
			Flags:     options(1500, 1000, cli.StringFlag{Name: "type", Usage: "its `TYPE`: veth, with an end in a bridge, or eth, a link of the host"}, name),
			Action:    a.addNIC,
		},
		{
			Name:      "remove-nic",
			Usage:     "remove a network interface from a container, with its routes",
			ArgsUsage: "<container>",
			Flags:     []cli.Flag{cli.StringFlag{Name: "type", Usage: "its `TYPE`: veth or eth"}, name, forgetFlag, dryRunFlag},
			Action:    a.removeNIC,
		},
		{
			Name:      "update-nic",
			Usage:     "change a network interface of a container; an option that is not given changes nothing",
			ArgsUsage: "<container>",
			Flags:     options(0, 0, cli.StringFlag{Name: "name", Usage: "its `NAME` in the container"}),
			Action:    a.updateNIC,
		},
		{
			Name:      "list-nic",
			Usage:     "list the network interfaces added to a container",
			ArgsUsage: "<container>",
			Flags: []cli.Flag{prettyFlag, formatFlag, cli.StringFlag{
				Name: "filter, f", Usage: "only those that match this `JSON`, as '{\"ip\":\"1.2.3.4/24\",\"mtu\":1500}'",
			}},
			Action: a.listNICs,
		},
	}
}

// nicNames splits [HOST:]CONTAINER.
func nicNames(s string) (host, name string, err error) {
	host, name, both := strings.Cut(s, ":")
	if !both {
		host, name = "", host
	}
	if strings.Contains(name, ":") {
		return "", "", fmt.Errorf("invalid nic name %q", s)
	}
	return host, name, nil
}

// newNIC reads add-nic's options. Compat: add-nic-*, extra-arg-add-nic.
func newNIC(c *cli.Context) (n network.NIC, err error) {
	host, name, err := nicNames(c.String("name"))
	if err == nil && name == "" {
		err = errors.New("failed to get container nic name")
	}
	if err != nil {
		return n, err
	}
	n = network.NIC{
		IP: address(c.String("ip")), MAC: c.String("mac"), MTU: c.Int("mtu"), QueueLen: c.Int("qlen"),
		Type: c.String("type"), Bridge: c.String("bridge"), HostName: host, Name: name,
	}
	if n.Type == "" { // Compat: add-nic-no-type
		err = errors.New("unsupported type ")
	} else {
		err = cmp.Or(n.CheckOptions(), network.CheckMAC(n.MAC))
	}
	if err == nil {
		if n.HostName == "" {
			n.HostName = network.NewHostName(n.Name)
		}
		err = n.CheckHost(c.IsSet("mtu"), c.IsSet("qlen"))
	}
	if err != nil {
		return n, fmt.Errorf("invalid network option: %w", err)
	}
	return n, nil
}

// address is the value of --ip as it is recorded, where "" is none.
func address(option string) string {
	if option = strings.TrimSpace(option); option == "none" {
		return ""
	}
	return option
}

func (a App) addNIC(c *cli.Context) error {
	id, err := networkContainer(c)
	if err != nil {
		return err
	}
	n, err := newNIC(c)
	if err != nil {
		return err
	}
	return a.networkChange(c, id, "failed to add nic into container: ", resource.Stop, func(s *session) error {
		nics, err := network.Interfaces.Edit(s.change)
		if err = cmp.Or(err, s.hasNet(), n.CheckNumbers()); err != nil {
			return err
		}
		if len(nics.Records()) >= network.MaxNICs {
			//lint:ignore ST1005 the wording of v0.9
			return errors.New("Nic already reach max limit")
		}
		if err := conflict(n, nics.Records()); err != nil {
			return err
		}
		s.printOnSuccess(nics.Add(n), "Add network interface (%s) to container (%s,%s) done", n.HostName, s.name, n.Name)
		return nil
	})
}

func conflict(n network.NIC, others []network.NIC) error {
	for _, old := range others {
		if err := n.Conflict(old); err != nil {
			return err
		}
	}
	return nil
}

func (a App) removeNIC(c *cli.Context) error {
	id, err := networkContainer(c)
	if err != nil {
		return err
	}
	host, name, err := nicNames(c.String("name"))
	if err == nil && host == "" && name == "" {
		err = errors.New("failed to get container nic name")
	}
	if err != nil {
		return err
	}
	kind := c.String("type")
	return a.networkChange(c, id, "failed to remove nic from container: ", resource.Skip, func(s *session) error {
		nics, err := network.Interfaces.Edit(s.change)
		if err != nil {
			return err
		}
		list := nics.Records()
		i := slices.IndexFunc(list, func(n network.NIC) bool {
			return (host == "" || n.HostName == host) && (name == "" || n.Name == name) && (kind == "" || n.Type == kind)
		})
		if i < 0 {
			return s.errNoNIC(host, name, kind)
		}
		gone := list[i]
		task := nics.Remove(gone)
		task.Offline = func(ctx context.Context) error { return s.cleanupStoppedNIC(ctx, gone) }
		s.printOnSuccess(task, "Remove network interface (%s) from container (%s,%s) done", gone.HostName, s.name, gone.Name)
		return s.dropRoutes(task, gone, nics.Records())
	})
}

// errNoNIC is that no interface is recorded that has what was asked for.
func (s *session) errNoNIC(host, name, kind string) error {
	which := name
	if host != "" {
		which = host + ":" + name
	}
	if kind != "" {
		which += " with type " + kind
	}
	//lint:ignore ST1005 the wording of v0.9, which had its fields also where they are empty
	return fmt.Errorf("Network interface %s not exist in container %s", which, s.name)
}

// cleanupStoppedNIC takes an interface out of what a container that ended has left behind,
// as its poststop would, had the record stayed as it was: nobody else knows of it
// then. It fails only when the interface is still there.
func (s *session) cleanupStoppedNIC(ctx context.Context, n network.NIC) error {
	grants, doubt := container.OpenLedger(s.app.Generation, s.id, container.Start{}, nil)
	if doubt != nil {
		s.app.warn("container "+s.name, doubt)
	}
	defer grants.Close()
	err := network.Cleanup{ID: s.id, Ledger: grants, Records: []network.NIC{n}, OnlyRecords: true, SwitchPorts: true, Forget: s.forget}.Do(ctx)
	if errors.Is(err, network.ErrStillInUse) {
		return err
	}
	return nil
}

// dropRoutes plans that the routes that need the interface go with it, and say
// so: the container's next start would fail on them. A route that another interface
// can carry is carried by that.
func (s *session) dropRoutes(task *resource.Task, gone network.NIC, others []network.NIC) error {
	routes, err := network.Routes.Edit(s.change)
	if err != nil {
		return err
	}
	var dropped []network.Route
	all := routes.Records()
	for _, r := range all {
		switch {
		case !r.Needs(gone, all):
		case slices.ContainsFunc(others, func(n network.NIC) bool { return r.Needs(n, all) }):
			routes.Update(r, r).Needs = task
		default:
			drop := routes.RemoveRecord(r) // the kernel does it
			drop.Needs = task
			s.printOnSuccess(drop, "Remove route from container %s, route: %s done", s.name, r)
			dropped = append(dropped, r)
		}
	}
	s.change.Finally(func(ctx context.Context) error {
		// Should the interface be there again, for the change failed after all.
		var errs []error
		for _, r := range dropped {
			if s.target == nil || !slices.Contains(routes.Records(), r) {
				continue
			}
			if err := network.Routes.Apply(ctx, s.target, r); !errors.As(err, new(resource.Warning)) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
	return nil
}

func (a App) updateNIC(c *cli.Context) error {
	id, err := networkContainer(c)
	if err != nil {
		return err
	}
	host, name, err := nicNames(c.String("name"))
	if err == nil && name == "" {
		//lint:ignore ST1005 the wording of v0.9
		err = errors.New("Network interface name in container must be provided")
	}
	if err != nil {
		return err
	}
	return a.networkChange(c, id, "failed to upadte nic in container: ", resource.Stop, func(s *session) error {
		nics, err := network.Interfaces.Edit(s.change)
		if err = cmp.Or(err, s.hasNet()); err != nil {
			return err
		}
		list := nics.Records()
		i := slices.IndexFunc(list, func(n network.NIC) bool { return n.Name == name && (host == "" || n.HostName == host) })
		if i < 0 {
			return s.errNoNIC(host, name, "")
		}
		old := list[i]
		now, said := changed(c, old)
		if len(said) == 0 {
			return nil
		}
		for _, err := range []error{now.CheckOptions(), now.CheckNumbers(), network.CheckMAC(c.String("mac")), conflict(now, slices.Concat(list[:i], list[i+1:]))} {
			if err != nil {
				return err
			}
		}
		task := nics.Update(old, now)
		if !c.Bool(configOnlyFlag.Name) {
			task.Offline = func(ctx context.Context) error { return s.cleanupStoppedNIC(ctx, old) }
		}
		for _, line := range said {
			s.printOnSuccess(task, "%s", line)
		}
		return s.restoreRoutes()
	})
}

// restoreRoutes plans that the recorded routes are there afterwards, also those that
// went with an update that was killed. A route that does not fit the interface any more
// is the next command's: remove-route, or another update.
func (s *session) restoreRoutes() error {
	routes, err := network.Routes.Edit(s.change)
	if err != nil {
		return err
	}
	s.change.Finally(func(ctx context.Context) error {
		for _, r := range routes.Records() {
			if s.target != nil {
				_ = network.Routes.Apply(ctx, s.target, r)
			}
		}
		return nil
	})
	return nil
}

// changed is old with the options that are given, and what is said of each. Of
// two numbers 0 is none; a queue length of 0 is one when it is given.
func changed(c *cli.Context, old network.NIC) (now network.NIC, said []string) {
	now = old
	text := func(option, what string, to *string) {
		if v := strings.TrimSpace(c.String(option)); v != "" {
			*to = v
			said = append(said, fmt.Sprintf("Update %s for network interface (%s,%s) done", what, old.Name, v))
		}
	}
	text("ip", "IP address", &now.IP)
	now.IP = address(now.IP)
	text("mac", "MAC address", &now.MAC)
	text("bridge", "Bridge", &now.Bridge)
	if v := c.Int("mtu"); v != 0 {
		now.MTU = v
		said = append(said, fmt.Sprintf("Update Mtu for network interface (%s,%d) done", old.Name, v))
	}
	if v := c.Int("qlen"); c.IsSet("qlen") {
		now.QueueLen = v
		said = append(said, fmt.Sprintf("Update Qlen for network interface (%s,%d)", old.Name, v))
	}
	return now, said
}

func (a App) listNICs(c *cli.Context) error {
	id, err := networkContainer(c)
	if err != nil {
		return err
	}
	filter, err := parseFilter[network.NIC](c.String("filter"), "failed to parse filter")
	if err != nil {
		return err
	}
	return a.networkList(c, id, "network interface", func(d *config.Document) (any, error) {
		list, err := config.List[network.NIC](d, config.NetInterfaces)
		return nilIfEmpty(slices.DeleteFunc(slices.Clone(list), func(n network.NIC) bool { return !n.Matches(filter) })), err
	})
}
