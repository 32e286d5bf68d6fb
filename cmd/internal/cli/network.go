package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/internal/jsonerror"
	"isula.org/isulad-tools/internal/rtnl"
	"isula.org/isulad-tools/resource"
)

// networkContainer returns the only argument, as the commands about the network
// take it. Compat: blank-id-list-nic.
func networkContainer(c *cli.Context) (string, error) {
	name, err := oneContainer(c)
	if err != nil {
		return "", err
	}
	return trimmedName(name)
}

func trimmedName(name string) (string, error) {
	if name = strings.TrimSpace(name); name == "" {
		return "", errors.New("container-id can't be empty")
	}
	return name, nil
}

// networkFind is find in the words of the commands about the network.
func (a App) networkFind(c *cli.Context, name string) (container.Container, error) {
	found, err := a.find(c, name)
	if err != nil {
		return found, fmt.Errorf("failed to get container info: %w", err)
	}
	return found, nil
}

// networkChange is transact for the network of a container.
func (a App) networkChange(c *cli.Context, name, prefix string, p resource.Policy, plan func(*session) error) error {
	found, err := a.networkFind(c, name)
	if err != nil {
		return err
	}
	return a.transactOn(c, found, prefix, p, plan)
}

// hasNet refuses to give the host's network anything, as the container's start would.
// What is recorded all the same can be removed.
func (s *session) hasNet() error {
	if s.spec.HostNet(s.dir) {
		return rtnl.ErrHostNetwork
	}
	return nil
}

// networkList prints what pick finds in the container's resource file.
func (a App) networkList(c *cli.Context, name, what string, pick func(*config.Document) (any, error)) error {
	table, err := wantsTable(c)
	if err != nil {
		return err
	}
	found, err := a.networkFind(c, name)
	if err != nil {
		return err
	}
	doc, err := config.Load(found.Dir)
	if err == nil {
		var list any
		if list, err = pick(doc); err == nil {
			err = printList(a.Stdout, list, table, c.Bool("pretty"))
		}
	}
	if err != nil {
		return fmt.Errorf("failed to list %s in container: %w", what, err)
	}
	a.log.Infof("list %s in container %q successfully", what, c.Args().First())
	return nil
}

// parseFilter reads a --filter; none matches everything. Keys that T does not have
// are ignored.
func parseFilter[T any](text, failed string) (filter T, err error) {
	if text = strings.TrimSpace(text); text == "" {
		return filter, nil
	}
	if err := json.Unmarshal([]byte(text), &filter); err != nil {
		return filter, fmt.Errorf("%s: %w", failed, jsonerror.Line(err))
	}
	return filter, nil
}
