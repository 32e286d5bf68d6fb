package packages

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// tool is our command line.
func tool(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, sandbox.Binary(t), args...)
}

// commands are those that a person may use.
func commands(t *testing.T) []string {
	t.Helper()
	all := strings.Fields(tool(t, "complete", ""))
	if len(all) < 20 {
		t.Fatalf("got only %q", all)
	}
	return slices.DeleteFunc(all, func(name string) bool { return name == "help" })
}

func found(pattern, text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, strings.ReplaceAll(m[1], `\-`, "-"))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestEveryOptionIsInHelpManualAndCompletion(t *testing.T) {
	for _, command := range append(commands(t), "") {
		t.Run(cmp.Or(command, "before the command"), func(t *testing.T) {
			of := func(before, after []string) []string {
				if command != "" {
					before = append(before, command)
				}
				return append(before, after...)
			}
			complete := found(`(?m)^--(\S+)$`, tool(t, of([]string{"complete"}, []string{"-"})...))
			complete = slices.DeleteFunc(complete, func(name string) bool { return name == "help" })
			help := tool(t, of([]string{"help"}, nil)...)
			_, options, _ := strings.Cut(help, "OPTIONS:\n")
			inHelp := slices.DeleteFunc(found(`(?m)^   --([a-z-]+)`, options), func(name string) bool { return name == "help" })
			inManual := slices.DeleteFunc(found(`(?m)^\.It Fl \\-([a-z\\-]+)`, tool(t, of([]string{"manual"}, nil)...)), func(name string) bool { return name == "help" })
			if !slices.Equal(inHelp, inManual) || !slices.Equal(inManual, complete) {
				t.Errorf("got in help %q, in the manual %q, in completion %q, want the same", inHelp, inManual, complete)
			}
			if strings.Contains(options, " value ") {
				t.Errorf("got %s, want what each option takes", options)
			}
		})
	}
}

func TestEveryCommandHasAGroupAndAnExample(t *testing.T) {
	list := tool(t, "help")
	if strings.Contains(list, "   more:\n") {
		t.Errorf("got %s, want no command without a group", list)
	}
	hooks := strings.Fields("prestart poststart poststop udev-event")
	for _, command := range commands(t) {
		if help := tool(t, "help", command); !slices.Contains(hooks, command) && !strings.Contains(help, "\nEXAMPLE:\n   isulad-tools "+command+" ") {
			t.Errorf("%s: got %s, want an example", command, help)
		}
	}
}

func TestMistypedWordsAreAnsweredByTheNearest(t *testing.T) {
	for name, c := range map[string]struct{ args, want string }{
		"a command":                    {"add-devise web /dev/null", "did you mean add-device?"},
		"an option":                    {"add-device --follow-partitions web /dev/null", "did you mean --follow-partition?"},
		"an option before the command": {"--loglevel debug list-path web", "did you mean --log-level?"},
		"nothing like it":              {"frobnicate", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), sandbox.Binary(t), strings.Fields(c.args)...).CombinedOutput()
			if err == nil || !strings.HasSuffix(string(out), c.want+"\n") && c.want != "" || strings.Contains(string(out), "did you mean") != (c.want != "") {
				t.Errorf("got %v, %q, want %q", err, out, c.want)
			}
		})
	}
}

// pages are the manual pages of the package, unpacked.
func pages(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	run(t, "dpkg-deb", "-x", made(t, light, "deb"), dir)
	all, err := filepath.Glob(dir + "/usr/share/man/man*/*.gz")
	// A link, to that of isulad-tools.
	all = slices.DeleteFunc(all, func(p string) bool { return strings.HasPrefix(filepath.Base(p), "syscontainer") })
	if err != nil || len(all) < 20 {
		t.Fatalf("got %q, %v", all, err)
	}
	run(t, "gunzip", all...)
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], ".gz")
	}
	return all
}

func TestManualPagesAreWellFormed(t *testing.T) {
	all := pages(t)
	for _, command := range commands(t) {
		if !slices.ContainsFunc(all, func(p string) bool { return filepath.Base(p) == "isulad-tools-"+command+".1" }) {
			t.Errorf("%s has no page", command)
		}
	}
	for _, page := range all {
		t.Run(filepath.Base(page), func(t *testing.T) {
			if out, err := exec.CommandContext(t.Context(), "mandoc", "-T", "lint", "-W", "warning", page).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("mandoc: got %v, %s, want nothing", err, out)
			}
			show := exec.CommandContext(t.Context(), "man", "--warnings", "-l", page)
			show.Env = append(os.Environ(), "MANWIDTH=80", "MANPAGER=cat")
			var said strings.Builder
			show.Stderr = &said
			if out, err := show.Output(); err != nil || said.Len() > 0 || len(out) < 200 {
				t.Errorf("man: got %v, %s, %d characters, want no warning", err, &said, len(out))
			}
		})
	}
}
