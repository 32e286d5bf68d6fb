package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/kmod"
)

func (a App) listModules(c *cli.Context) error {
	table, err := wantsTable(c)
	if err != nil {
		return err
	}
	var list []kmod.Status
	switch c.NArg() {
	case 0:
		list, err = kmod.Loader{}.List()
	default:
		list, err = a.listModulesOf(c)
	}
	if err != nil {
		return err
	}
	if table {
		return printModules(a.Stdout, list)
	}
	return printJSON(a.Stdout, nilIfEmpty(list), c.Bool("pretty"))
}

func (a App) listModulesOf(c *cli.Context) ([]kmod.Status, error) {
	found, err := a.containerArg(c)
	if err != nil {
		return nil, err
	}
	names, err := kmod.OfSpec(found.Dir)
	if err == nil {
		var doc *config.Document
		if doc, err = config.Load(found.Dir); err == nil {
			var recorded []string
			recorded, err = kmod.Recorded(doc)
			names = append(names, kmod.Without(recorded, names)...)
		}
	}
	if err != nil {
		//lint:ignore ST1005 as for devices and paths
		return nil, fmt.Errorf("Failed to list module in container: %w", err)
	}
	return kmod.Loader{}.ListFor(requester(found, c.Args().First()), names)
}

// wantsTable reads --format, which --pretty overrules.
func wantsTable(c *cli.Context) (bool, error) {
	switch f := c.String("format"); f {
	case "table":
		return !c.Bool("pretty"), nil
	case "json":
		return false, nil
	default:
		return false, fmt.Errorf("unknown format %s: want table or json", f)
	}
}

func printModules(w io.Writer, list []kmod.Status) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "MODULE\tSTATE\tSIZE\tUSED\tUSED BY\tASKED FOR BY\tORIGIN\tSINCE")
	for _, m := range list {
		size, used, since := "-", "-", "-"
		if m.Size > 0 {
			size, used = units.BytesSize(float64(m.Size)), fmt.Sprint(m.UseCount)
		}
		if m.LoadedAt != nil {
			since = m.LoadedAt.Local().Format(time.DateTime)
		}
		var askers []string
		for _, ask := range m.RequestedBy {
			who := displayName(ask.Name, ask.ID)
			if !kmod.Same(ask.As, m.Module) {
				who += " as " + ask.As
			}
			if !ask.Running {
				who += " (stopped)"
			}
			askers = append(askers, who)
		}
		origin := m.Origin
		if origin == "loaded" {
			origin += " for " + displayName(m.LoadedName, m.LoadedFor)
		}
		fmt.Fprintln(t, strings.Join([]string{
			m.Module, m.State, size, used, joinOrDash(m.UsedBy), joinOrDash(askers), joinOrDash([]string{origin}), since,
		}, "\t"))
	}
	return t.Flush()
}

// displayName is what a table calls a container.
func displayName(name, id string) string {
	if name == "" {
		name = id
		if len(id) == 64 {
			name = id[:12]
		}
	}
	return name
}

func joinOrDash(list []string) string {
	if s := strings.Join(list, ","); s != "" {
		return s
	}
	return "-"
}

func (a App) checkModules(c *cli.Context) error {
	table, err := wantsTable(c)
	if err != nil {
		return err
	}
	if err := atLeastArgs(c, 1); err != nil {
		return err
	}
	list, err := kmod.Loader{}.Check(c.Args())
	if err != nil {
		return err
	}
	var failing []string
	for _, f := range list {
		if f.Fails() {
			failing = append(failing, f.Name)
		}
		if table {
			printDryRun(a.Stdout, f)
		}
	}
	if !table {
		if err := printJSON(a.Stdout, list, c.Bool("pretty")); err != nil {
			return err
		}
	}
	if len(failing) > 0 {
		return fmt.Errorf("a container that asks for %s does not start", strings.Join(failing, ", "))
	}
	return nil
}

func printDryRun(w io.Writer, f kmod.DryRun) {
	line := f.Name + ": " + string(f.State)
	if len(f.Modules) > 0 && !kmod.Same(f.Modules[0], f.Name) {
		line += ", alias for " + strings.Join(f.Modules, ", ")
	}
	if f.Reason != "" {
		line += ": " + f.Reason
	}
	fmt.Fprintln(w, line)
	for _, file := range f.Files {
		if !strings.HasPrefix(file, "install ") {
			file = "insmod " + file
		}
		fmt.Fprintln(w, "    "+file)
	}
	for _, note := range f.Notes {
		fmt.Fprintln(w, "    note: "+note)
	}
}
