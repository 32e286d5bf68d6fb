package kmod

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What stands here was compared with kmod 30, which tells what it understood by
// `modprobe -c`.
func TestParseReadsWhatModprobeReads(t *testing.T) {
	t.Parallel()
	var c rules
	c.parse([]byte(`# comment
alias myfoo dummy
  alias	indented 	dummy  and more
 # not a comment, and no keyword
alias with-dash nf-nat
alias usb:v[0-9]*-x mod-a
alias incomplete
alias un[closed dummy
alias un]opened dummy
alias posix[[:digit:]] dummy
blacklist veth-x
blacklist
install bridge /bin/false
install pre_a* /sbin/modprobe --ignore-install \
   pre_a $CMDLINE_OPTS
install nothing
alias conti\
nued dummy
alias esc\aped dummy
options dummy numdummies=0
softdep tun pre: other
Alias upper dummy
alias crlf dummy`+"\r\n"+`alias last dummy`), "f")
	want := []rule{
		{"myfoo", "dummy", "f:2"},
		{"indented", "dummy", "f:3"},
		{"with_dash", "nf_nat", "f:5"},
		{"usb:v[0-9]*_x", "mod_a", "f:6"},
		{"continued", "dummy", "f:18"},
		{"escaped", "dummy", "f:19"},
		{"crlf", "dummy\r", "f:23"},
		{"last", "dummy", "f:24"},
	}
	if !slices.Equal(c.aliases, want) {
		t.Errorf("aliases %q, want %q", c.aliases, want)
	}
	if want := []rule{{"veth_x", "", "f:11"}}; !slices.Equal(c.blacklist, want) {
		t.Errorf("blacklist %q, want %q", c.blacklist, want)
	}
	want = []rule{{"bridge", "/bin/false", "f:13"}, {"pre_a*", "/sbin/modprobe --ignore-install    pre_a $CMDLINE_OPTS", "f:15"}}
	if !slices.Equal(c.install, want) {
		t.Errorf("install %q, want %q", c.install, want)
	}
}

func TestKernelCommandLine(t *testing.T) {
	t.Parallel()
	var c rules
	c.parseCommandLine([]byte("ro module_blacklist=gone modprobe.blacklist=ifb,nf-nat x.modprobe.blacklist=no module-blacklist=\"btrfs,nf-tables\" modprobe.blacklist=b quiet\n"))
	// The kernel keeps the last module_blacklist=, libkmod adds up.
	if want := []string{"btrfs", "nf-tables"}; !slices.Equal(c.forbidden, want) {
		t.Errorf("forbidden %q, want %q", c.forbidden, want)
	}
	for module, want := range map[string]bool{"ifb": true, "b": true, "nf_nat": false, "no": false, "gone": false} {
		t.Run(module, func(t *testing.T) {
			if got := c.blacklisted(module); (got != "") != want {
				t.Errorf("blacklisted(%q) = %q", module, got)
			}
		})
	}
}

func TestConfigurationFilesHideEachOtherByName(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{
		"/etc/modprobe.d/b.conf":           "alias b etc\n",
		"/etc/modprobe.d/.hidden.conf":     "alias hidden x\n",
		"/etc/modprobe.d/notes.txt":        "alias notes x\n",
		"/etc/modprobe.d/old.alias":        "alias old etc\n",
		"/etc/modprobe.d/d.conf/x.conf":    "alias nested x\n",
		"/run/modprobe.d/a.conf":           "alias a run\n",
		"/run/modprobe.d/b.conf":           "alias b run\n",
		"/usr/local/lib/modprobe.d":        "alias single file\n",
		"/usr/lib/modprobe.d/c.conf":       "alias c usr\n",
		"/usr/lib/modprobe.d/off.conf":     "alias off usr\n",
		"/lib/modprobe.d/c.conf":           "alias c lib\n",
		"/lib/modprobe.d/0.conf":           "alias zero lib\n",
		"/proc/cmdline":                    "modprobe.blacklist=k\n",
		"/usr/share/doc/modprobe.d/x.conf": "alias doc x\n",
	})
	if err := os.Symlink("/dev/null", root+"/etc/modprobe.d/off.conf"); err != nil {
		t.Fatal(err)
	}
	c := Loader{Root: root}.host().conf()
	want := []rule{
		{"zero", "lib", "/lib/modprobe.d/0.conf:1"},
		{"a", "run", "/run/modprobe.d/a.conf:1"},
		{"b", "etc", "/etc/modprobe.d/b.conf:1"},
		{"c", "usr", "/usr/lib/modprobe.d/c.conf:1"},
		{"single", "file", "/usr/local/lib/modprobe.d:1"},
		{"old", "etc", "/etc/modprobe.d/old.alias:1"},
	}
	if !slices.Equal(c.aliases, want) {
		t.Errorf("aliases %q, want %q", c.aliases, want)
	}
	if c.blacklisted("k") == "" {
		t.Error("the kernel's command line was not read")
	}
}

func TestReadTakesRegularFilesOnly(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "x.conf")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{fifo, filepath.Dir(fifo), "/dev/zero", fifo + ".none"} {
		if got := read(file); len(got) != 0 {
			t.Errorf("read(%s): %d bytes", file, len(got))
		}
	}
}

func TestMatchIsFnmatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"*", "", true},
		{"**", "abc", true},
		{"ip_vs", "ip_vs", true},
		{"ip_vs", "ip_vs_rr", false},
		{"ip_vs*", "ip_vs_rr", true},
		{"*_rr", "ip_vs_rr", true},
		{"*a*b*c", "xaxbxbxc", true},
		{"*a*b*c", "xaxbxbx", false},
		{"q?x", "q_x", true},
		{"q?x", "qx", false},
		{"[x-z]b", "yb", true},
		{"[x-z]b", "ab", false},
		{"[!x-z]b", "ab", true},
		{"[^x-z]b", "yb", false},
		{"v[0-9][0-9]", "v12", true},
		{"v[0-9][0-9]", "v1x", false},
		{"v[0-9]*", "v1x", true},
		{"[]a]x", "]x", true},
		{"[]a]x", "ax", true},
		{"[a-]x", "-x", true},
		{"[-a]x", "-x", true},
		{"[\\]a]x", "]x", true},
		{"un[closed", "un[closed", true},
		{"un[closed", "unc", false},
		{"a[", "a[", true},
		{"[]", "[]", true},
		{"esc\\*ape", "esc*ape", true},
		{"esc\\*ape", "escXape", false},
		{"end\\", "end\\", false},
		{"a/*", "a/b/c", true},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			if got := match(c.pattern, c.name); got != c.want {
				t.Errorf("match(%q, %q) = %v", c.pattern, c.name, got)
			}
		})
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("ip_*[a-c]?", "ip_vs_ax")
	f.Add("[!x]\\*", "y*")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := match(pattern, name)
		// Where path.Match has the same rules it must agree.
		if strings.ContainsAny(pattern, `[\/`) || strings.Contains(name, "/") || !ascii(pattern+name) {
			return
		}
		want, err := path.Match(pattern, name)
		if err != nil || got != want {
			t.Fatalf("match(%q, %q) = %v, path.Match says %v, %v", pattern, name, got, want, err)
		}
	})
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
}

func FuzzConfigAndAliases(f *testing.F) {
	f.Add([]byte("alias a* b\nblacklist b\ninstall b /bin/false\\\n x\n"), []byte("alias a-b[0-9] c\n"), []byte("a.alias=x\x00b.parm=1\x00"), "a_b1")
	f.Add([]byte("\\"), []byte("alias"), []byte("\x00.alias=\x00"), "x")
	f.Fuzz(func(t *testing.T, conf, aliases, modinfo []byte, name string) {
		if !valid(name) {
			return
		}
		h := &host{
			release: "r", config: new(rules),
			files: map[string][]byte{"modules.alias": aliases, "modules.builtin.modinfo": modinfo, "modules.dep": aliases, "modules.builtin": aliases},
		}
		h.config.parse(conf, "f")
		h.config.parseCommandLine(conf)
		for _, r := range slices.Concat(h.config.aliases, h.config.install, h.config.blacklist) {
			if r.pattern == "" && r.where != "" && !strings.Contains(r.where, "command line") || strings.ContainsAny(r.value+r.pattern, "\n") {
				t.Fatalf("rule %q of %q", r, conf)
			}
		}
		m := h.resolve(canonical(name))
		for i, one := range m.targets {
			if one.via == "" || slices.ContainsFunc(m.targets[:i], func(o aliasTarget) bool { return o.module == one.module }) {
				t.Fatalf("targets %+v", m.targets)
			}
		}
		if len(m.wanted()) > len(m.targets) {
			t.Fatal("more wanted than meant")
		}
	})
}

func TestUnderscores(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "a-b_c": "a_b_c", "a[0-9]-": "a[0-9]_", "[]x-": "[]x_", "x]": "!", "[x": "!", "[a]b]": "!"} {
		t.Run(in, func(t *testing.T) {
			got, ok := underscores(in)
			if !ok {
				got = "!"
			}
			if got != want {
				t.Errorf("underscores(%q) = %q, want %q", in, got, want)
			}
		})
	}
}

// tree makes files below a new directory; "/" at the end makes a directory.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		file := root + name
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(file, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}
