package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/mounts"
)

var prettyFlag = cli.BoolFlag{Name: "pretty, p", Usage: "print JSON for people"}

func (a App) commands() []cli.Command {
	return []cli.Command{
		{
			Name:      "list-device",
			Usage:     "list the devices added to a container",
			ArgsUsage: "<container>",
			Flags:     []cli.Flag{prettyFlag, cli.BoolFlag{Name: "sub-partition", Usage: "list the partitions of listed disks, too"}},
			Action: func(c *cli.Context) error {
				return a.list(c, "device", func(d *config.Document) (any, error) {
					list, err := config.List[devices.Device](d, config.Devices)
					if !c.Bool("sub-partition") {
						list = disks(list)
					}
					return some(list), err
				})
			},
		},
		{
			Name:      "list-path",
			Usage:     "list the host paths added to a container",
			ArgsUsage: "<container>",
			Flags:     []cli.Flag{prettyFlag},
			Action: func(c *cli.Context) error {
				return a.list(c, "path", func(d *config.Document) (any, error) {
					list, err := config.List[mounts.Bind](d, config.Binds)
					if err == nil {
						err = mounts.Check(list)
					}
					return some(list), err
				})
			},
		},
	}
}

// disks leaves out the partitions of devices in the list. One whose disk is not
// recorded, any more or at all, is a device like others.
func disks(list []devices.Device) []devices.Device {
	if !slices.ContainsFunc(list, func(d devices.Device) bool { return d.Parent != "" }) {
		return list
	}
	var hidden []devices.Device
	for _, d := range list {
		hidden = append(hidden, partitions(d, list, hidden)...)
	}
	return slices.DeleteFunc(slices.Clone(list), func(d devices.Device) bool { return slices.Contains(hidden, d) })
}

// some is list, or nil when there is nothing in it.
func some[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// list prints what pick finds in the container's resource file.
func (a App) list(c *cli.Context, what string, pick func(*config.Document) (any, error)) error {
	found, err := a.one(c)
	if err != nil {
		return err
	}
	doc, err := config.Load(found.Dir)
	if err == nil {
		var list any
		if list, err = pick(doc); err == nil {
			if err := printJSON(a.Stdout, list, c.Bool("pretty")); err != nil {
				return err
			}
			a.log.Infof("list %s in container %q successfully", what, c.Args().First())
			return nil
		}
	}
	//lint:ignore ST1005 the wording of v0.9
	return fmt.Errorf("Failed to list %s in container: %w", what, err)
}

// one returns the container that is the only argument.
func (a App) one(c *cli.Context) (container.Container, error) {
	name, err := oneContainer(c)
	if err != nil {
		return container.Container{}, err
	}
	return a.find(c, name)
}

var bundleFlag = cli.StringFlag{Name: "bundle", Usage: "the container is the one of this bundle `DIR` of plain runc's, whether or not it ever started; <container> is its id"}

// find asks the engine for the container that name stands for.
func (a App) find(c *cli.Context, name string) (container.Container, error) {
	if !container.ValidName(name) {
		//lint:ignore ST1005 the wording of v0.9
		return container.Container{}, fmt.Errorf("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	engine, err := container.NewEngine(c.GlobalString("engine"))
	if err != nil {
		return container.Container{}, err
	}
	if bundle := c.String(bundleFlag.Name); bundle != "" {
		if _, ok := engine.(container.Runc); !ok {
			engine = container.Runc{Root: container.RuncRoot}
		}
		engine = container.Bundle{Dir: bundle, Runs: engine}
	}
	return engine.Find(a.interrupts, name)
}

// printJSON prints v on one line, or indented. Nothing is printed for nil.
func printJSON(w io.Writer, v any, pretty bool) error {
	if v == nil {
		return nil
	}
	data, err := json.Marshal(v)
	if pretty {
		data, err = json.MarshalIndent(v, "", "\t")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}
