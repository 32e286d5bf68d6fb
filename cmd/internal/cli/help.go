package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli"
)

// groups are the headings of the list of commands, in its order. A command belongs
// to the first that its name ends like or that names it.
var groups = []struct {
	name, ending string
	commands     []string
}{
	{name: "devices", ending: "-device", commands: []string{"follow"}},
	{name: "paths", ending: "-path"},
	{name: "network", ending: "-nic"},
	{name: "network", ending: "-route"},
	{name: "modules", ending: "-module"},
	{name: "look", commands: []string{"list", "inspect", "check", "who", "doctor"}},
	{name: "repair", commands: []string{"repair"}},
	{name: "host", commands: []string{"install", "uninstall", "relabel"}},
	{name: "reference", commands: []string{"completion", "manual"}},
	{name: "hooks", commands: []string{"prestart", "poststart", "poststop", "udev-event"}},
}

// groupOf is the heading of a command.
func groupOf(name string) string {
	for _, g := range groups {
		if g.ending != "" && strings.HasSuffix(name, g.ending) || slices.Contains(g.commands, name) {
			return g.name
		}
	}
	return "more"
}

// describe completes what help says: headings, examples, exit codes. It is called at
// each start, and does only what help would be asked for.
func describe(app *cli.App, argv []string) {
	for i, c := range app.Commands {
		if !slices.Contains(argv, c.Name) {
			continue
		}
		if lines := exampleOf(c.Name); len(lines) > 0 {
			app.Commands[i].CustomHelpTemplate = cli.CommandHelpTemplate + "\nEXAMPLE:\n   " + strings.Join(lines, "\n   ") + "\n"
		}
	}
	// The library sorts headings by name, and calls ExtraInfo only for help.
	head, rest, _ := strings.Cut(cli.AppHelpTemplate, "{{if .VisibleCommands}}")
	_, tail, _ := strings.Cut(rest, "{{if .VisibleFlags}}")
	app.CustomAppHelpTemplate = head + "\n\nCOMMANDS:\n{{(ExtraInfo).commands}}{{if .VisibleFlags}}" + tail +
		"\nEXIT STATUS:\n   0: all was done; 1: something failed, and standard error says what; 2: a hook does not know an option\n"
	app.ExtraInfo = func() map[string]string { return map[string]string{"commands": commandList(app)} }
}

// commandList is the list of commands by groups.
func commandList(app *cli.App) string {
	var text strings.Builder
	for i, g := range groups {
		if i == 0 || g.name != groups[i-1].name {
			listGroup(&text, app, g.name)
		}
	}
	listGroup(&text, app, "more")
	text.WriteString("   help, h\tShows a list of commands or help for one command")
	return text.String()
}

func listGroup(text *strings.Builder, app *cli.App, group string) {
	heading := "   " + group + ":\n"
	for _, c := range app.Commands {
		if c.Hidden || c.Name == "help" || groupOf(c.Name) != group {
			continue
		}
		fmt.Fprintf(text, "%s     %s\t%s\n", heading, c.Name, c.Usage)
		heading = ""
	}
}

// withHint says, of a command or an option that does not exist, which one was
// probably meant.
func withHint(app *cli.App, argv []string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	var command cli.Command
	for _, word := range argv[min(1, len(argv)):] {
		if c := app.Command(word); c != nil {
			command = *c
			break
		}
	}
	var known []string
	prefix := ""
	if word, ok := strings.CutPrefix(text, "unknown subcommand "); ok {
		for _, c := range app.Commands {
			known = append(known, c.Name)
		}
		text = word
	} else if word, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		// The library does not say whether it stood before the command.
		flags := slices.Concat(command.Flags, app.Flags)
		for _, f := range flags {
			known = append(known, optionNames(f)[0])
		}
		text, prefix = strings.TrimPrefix(word, "-"), "--"
	}
	if meant := nearest(text, known); meant != "" {
		return errors.Join(err, fmt.Errorf("did you mean %s%s?", prefix, meant))
	}
	return err
}

// nearest is the known word that differs least from word, if by few letters.
func nearest(word string, known []string) (found string) {
	least := min(2, len(word)/3) + 1
	for _, k := range known {
		if d := distance(word, k); d < least {
			found, least = k, d
		}
	}
	return found
}

// distance counts the letters to insert, remove or replace to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// optionNames are the names of an option, the long one first.
func optionNames(f cli.Flag) []string {
	names := strings.Split(f.GetName(), ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	return names
}
