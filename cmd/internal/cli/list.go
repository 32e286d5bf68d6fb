package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/container"
	"isula.org/isulad-tools/container/engines"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
)

var prettyFlag = cli.BoolFlag{Name: "pretty, p", Usage: "print JSON for people"}

func (a App) commands() []cli.Command {
	return []cli.Command{
		{
			Name:      "list-device",
			Usage:     "list the devices added to a container",
			ArgsUsage: "<container>",
			Flags:     []cli.Flag{prettyFlag, formatFlag, cli.BoolFlag{Name: "sub-partition", Usage: "list the partitions of listed disks, too"}},
			Action: func(c *cli.Context) error {
				return a.list(c, "device", func(d *config.Document) (any, error) {
					list, err := config.List[devices.Device](d, config.Devices)
					if !c.Bool("sub-partition") {
						list = disks(list)
					}
					if err == nil {
						list, err = devices.WithSelectors(d, list)
					}
					return nilIfEmpty(list), err
				})
			},
		},
		{
			Name:      "list-path",
			Usage:     "list the host paths added to a container",
			ArgsUsage: "<container>",
			Flags:     []cli.Flag{prettyFlag, formatFlag},
			Action: func(c *cli.Context) error {
				return a.list(c, "path", func(d *config.Document) (any, error) {
					list, err := config.List[mounts.Bind](d, config.Binds)
					if err == nil {
						err = mounts.Check(list)
					}
					return nilIfEmpty(list), err
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

// nilIfEmpty is list, or nil when there is nothing in it.
func nilIfEmpty[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// list prints what pick finds in the container's resource file.
func (a App) list(c *cli.Context, what string, pick func(*config.Document) (any, error)) error {
	table, err := wantsTable(c)
	if err != nil {
		return err
	}
	found, err := a.containerArg(c)
	if err != nil {
		return err
	}
	doc, err := config.Load(found.Dir)
	if err == nil {
		var list any
		if list, err = pick(doc); err == nil {
			if err := printList(a.Stdout, list, table, c.Bool("pretty")); err != nil {
				return err
			}
			a.log.Infof("list %s in container %q successfully", what, c.Args().First())
			return nil
		}
	}
	//lint:ignore ST1005 the wording of v0.9
	return fmt.Errorf("Failed to list %s in container: %w", what, err)
}

// containerArg returns the container that is the only argument.
func (a App) containerArg(c *cli.Context) (container.Container, error) {
	name, err := oneContainer(c)
	if err != nil {
		return container.Container{}, err
	}
	return a.find(c, name)
}

var bundleFlag = cli.StringFlag{Name: "bundle", Usage: "find the container by its runc bundle `DIR`, even if it never started; <container> is its id"}

// find asks the engine for the container that name stands for.
func (a App) find(c *cli.Context, name string) (container.Container, error) {
	if !container.ValidName(name) {
		//lint:ignore ST1005 the wording of v0.9
		return container.Container{}, fmt.Errorf("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	word := c.GlobalString(engineFlag.Name)
	engine, err := engines.New(word, c.GlobalString(graphFlag.Name))
	if err != nil {
		return container.Container{}, err
	}
	if bundle := c.String(bundleFlag.Name); bundle != "" {
		if _, ok := engine.(engines.Runc); !ok {
			engine = engines.Runc{Root: engines.RuncRoot}
		}
		engine = container.Bundle{Dir: bundle, Runs: engine}
	}
	found, err := engine.Find(a.interrupts, name)
	switch {
	case err != nil || word != engines.Any:
	case found.Also != "":
		fmt.Fprintf(a.Stderr, "container %s: taken from iSulad; %s has one of that name, too: --engine %[2]s takes that one\n", name, found.Also)
	case found.Engine != "" && found.Engine != engines.Isulad:
		fmt.Fprintf(a.Stderr, "container %s: iSulad does not have it, %s does\n", name, found.Engine)
	}
	return found, err
}

// printList prints records as a table, or as JSON. Nothing is printed for nil.
func printList(w io.Writer, list any, table, pretty bool) error {
	if !table || list == nil {
		return printJSON(w, list, pretty)
	}
	var rows [][]string
	switch list := list.(type) {
	case []devices.Device:
		rows = append(rows, []string{"CONTAINER", "HOST", "DEVICE", "PERMISSIONS", "PART OF"})
		for _, d := range list {
			numbers := ""
			if d.Type != "" {
				numbers = fmt.Sprintf("%s %d:%d", d.Type, d.Major, d.Minor)
			}
			rows = append(rows, []string{d.PathInContainer, d.PathOnHost, numbers, d.CgroupPermissions, cmp.Or(d.Select, d.Parent)})
		}
	case []mounts.Bind:
		rows = append(rows, []string{"CONTAINER", "HOST", "OPTIONS"})
		for _, b := range list {
			rows = append(rows, []string{b.Container, b.Host, b.Options})
		}
	case []network.NIC:
		rows = append(rows, []string{"CONTAINER", "HOST", "TYPE", "BRIDGE", "IP", "MAC", "MTU", "QLEN"})
		for _, n := range list {
			rows = append(rows, []string{n.Name, n.HostName, n.Type, n.Bridge, n.IP, n.MAC, fmt.Sprint(n.MTU), fmt.Sprint(n.QueueLen)})
		}
	case []network.Route:
		rows = append(rows, []string{"DEST", "GW", "SRC", "DEV", "METRIC"})
		for _, r := range list {
			rows = append(rows, []string{r.Dest, r.GW, r.Src, r.Dev, string(r.Metric)})
		}
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, cells := range rows {
		for i, cell := range cells {
			cells[i] = joinOrDash([]string{strings.ReplaceAll(command.Printable(cell), "\t", " ")})
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
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
