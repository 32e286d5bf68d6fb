package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli"
)

// page is a manual page in mdoc(7).
type page struct{ strings.Builder }

func newPage(name, section, usage string, day time.Time) *page {
	p := new(page)
	p.line(".Dd %s", day.UTC().Format("January 2, 2006"))
	p.line(".Dt %s %s", strings.ToUpper(name), section)
	p.line(".Os isulad-tools")
	p.section("NAME")
	p.line(".Nm %s", name)
	p.line(".Nd %s", roff(usage))
	return p
}

// sentences are the lines of a text, and what full stops behind letters part.
func sentences(s string) (all []string) {
	for line := range strings.Lines(s) {
		begin := 0
		for i := 1; i+1 < len(line); i++ {
			if line[i] == '.' && line[i+1] == ' ' && line[i-1] >= 'a' && line[i-1] <= 'z' {
				all = append(all, strings.TrimSpace(line[begin:i+1]))
				begin = i + 1
			}
		}
		all = append(all, strings.TrimSpace(line[begin:]))
	}
	return all
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) section(name string) { p.line(".Sh %s", name) }

// text is a paragraph, a sentence a line.
func (p *page) text(s string) {
	for _, line := range sentences(roff(s)) {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		if line != "" {
			p.line("%s", line)
		}
	}
}

// roff escapes a text, so that no character has a meaning to roff.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "--", `\-\-`).Replace(s)
}

// options lists options as help does.
func (p *page) options(flags []cli.Flag) {
	p.line(".Bl -tag -width Ds")
	for _, f := range flags {
		left, usage, _ := strings.Cut(cli.FlagStringer(f), "\t")
		_, operand, _ := strings.Cut(strings.Split(left, ", ")[0], " ")
		item := ".It"
		for i, name := range optionNames(f) {
			if i > 0 {
				item += " ,"
			}
			item += " Fl " + dashed(name)
			if operand != "" {
				item += " Ar " + operand
			}
		}
		p.line("%s", item)
		p.text(usage)
	}
	p.line(".El")
}

// dashed is an option's name for the macro Fl, which gives it one dash.
func dashed(name string) string {
	if len(name) == 1 {
		return name
	}
	return `\-` + strings.ReplaceAll(name, "-", `\-`)
}

func (p *page) examples(lines []string) {
	if len(lines) == 0 {
		return
	}
	p.section("EXAMPLES")
	for _, l := range lines {
		p.line(".Dl %s", strings.NewReplacer(`\`, `\e`, `"`, `\(dq`, `-`, `\-`).Replace(l))
	}
}

func (p *page) exitStatus() {
	p.section("EXIT STATUS")
	p.text("0 if all was done; 1 if something failed: standard error and the log say what.")
}

func commandPage(c cli.Command, day time.Time) string {
	p := newPage("isulad-tools-"+c.Name, "1", c.Usage, day)
	p.section("SYNOPSIS")
	p.line(".Nm isulad-tools %s", c.Name)
	if len(c.Flags) > 0 {
		p.line(".Op Ar option ...")
	}
	for word := range strings.FieldsSeq(c.ArgsUsage) {
		p.line(".Ar %s", strings.ReplaceAll(roff(word), ",", `,\:`)) // may break there
	}
	p.section("DESCRIPTION")
	p.text(sentence(c.Usage))
	if c.Description != "" {
		p.line(".Pp")
		p.text(sentence(c.Description))
	}
	if len(c.Flags) > 0 {
		p.line(".Pp")
		p.text("The options are as follows:")
		p.options(c.Flags)
	}
	p.exitStatus()
	p.examples(exampleOf(c.Name))
	p.section("SEE ALSO")
	p.line(".Xr isulad-tools 1")
	return p.String()
}

// sentence is a text that begins with a capital letter and ends with a full stop.
func sentence(s string) string {
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

func toolPage(app *cli.App, day time.Time) string {
	p := newPage("isulad-tools", "1", app.Usage, day)
	p.section("SYNOPSIS")
	p.line(".Nm")
	p.line(".Op Ar option ...")
	p.line(".Ar command")
	p.line(".Op Ar argument ...")
	p.section("DESCRIPTION")
	p.text(sentence(app.Usage))
	p.text("A resource is recorded beside the container, in device_hook.json. An OCI hook gives it to the container at every start.")
	p.line(".Pp")
	p.text("The commands are as follows; each has a manual page of its own:")
	p.line(".Bl -tag -width Ds")
	for _, c := range app.Commands {
		if !c.Hidden && c.Name != "help" {
			p.line(".It Xr isulad-tools-%s 1", c.Name)
			p.text(sentence(c.Usage))
		}
	}
	p.line(".El")
	p.line(".Pp")
	p.text("These options stand before the command:")
	p.options(app.VisibleFlags())
	p.section("FILES")
	p.line(".Bl -tag -width Ds")
	for _, f := range files {
		p.line(".It Pa %s", f.path)
		p.text(f.what)
	}
	p.line(".El")
	p.exitStatus()
	p.section("SEE ALSO")
	p.line(".Xr device_hook.json 5 ,")
	p.line(".Xr isulad-tools-kmod.json 5 ,")
	p.line(".Xr isulad-hooks 8")
	return p.String()
}

// files are those that a person may look for.
var files = []struct{ path, what string }{
	{"/etc/isulad-tools/hookspec.json", "The hook spec for isula run --hook-spec."},
	{"/etc/isulad-tools/kmod.json", "Which kernel modules containers may have."},
	{"/run/isulad-tools", "Start records of running containers, and their network namespaces; gone after a reboot."},
	{"/var/lib/isulad/hooks/isulad-hooks", "The OCI hook, below iSulad's root directory."},
	{"/var/log/hyperagent/isulad-tools.log", "The log of the udev helper."},
}
