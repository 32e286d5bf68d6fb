//go:build vmguest

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// ipvs is what KERNEL_MODULES=ip_vs,ip_vs_wrr brings, users first.
var ipvs = []string{"ip_vs_wrr", "ip_vs", "nf_conntrack"}

func TestModulesAreThereWhenTheContainerStarts(t *testing.T) {
	for _, spec := range []string{hookSpec, "/etc/syscontainer-tools/hookspec.json"} {
		t.Run(filepath.Base(filepath.Dir(spec)), func(t *testing.T) {
			without(t, ipvs...)
			c := newContainer(t, "ip_vs,ip_vs_wrr", func(b *sandbox.Bundle) { b.Hooks = installedHooks(t, spec) })
			c.start()
			requireLoaded(t, ipvs...)
			if users := modules(t)["ip_vs"]; users != "ip_vs_wrr" {
				t.Errorf("ip_vs is used by %q, want ip_vs_wrr", users)
			}
			c.works("grep -q '^ip_vs_wrr ' /proc/modules && test -e /started")
			c.stop()
			requireLoaded(t, ipvs...)
		})
	}
}

// A module that somebody has unloaded is told, and loaded again.
func TestModuleThatIsGoneIsToldAndMended(t *testing.T) {
	without(t, ipvs...)
	c := newContainer(t, "ip_vs,ip_vs_wrr", nil)
	c.start()
	is := func(want ...string) {
		t.Helper()
		out, errs, code := tool("check", c.id)
		lines := strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
		if code != min(len(want), 1) || len(lines) != len(want) {
			t.Fatalf("check: exit code %d: %s%s, want %q", code, out, errs, want)
		}
		for i, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("check: %s, want %q", lines[i], w)
			}
		}
	}
	is()
	for _, gone := range [][]string{{"ip_vs_wrr"}, {"ip_vs_wrr", "ip_vs"}} {
		if out, err := exec.Command("rmmod", gone...).CombinedOutput(); err != nil {
			t.Fatalf("rmmod %v: %v: %s", gone, err, out)
		}
		var want []string
		for _, name := range slices.Backward(gone) { // in the order in which they are asked for
			want = append(want, "kernel module "+name+": module gone: ")
		}
		is(want...)
		works(t, "repair", c.id)
		requireLoaded(t, ipvs...)
		is()
	}
	if out := works(t, "repair", c.id); out != "" {
		t.Errorf("a second repair: %s", out)
	}
}

func TestMissingModuleStopsTheStart(t *testing.T) {
	without(t, "ifb")
	newContainer(t, "no_such_module", nil).refuse("no_such_module", "not found")
	requireUnloaded(t, "ifb")
}

func TestFailedStartKeepsAndNamesWhatItLoaded(t *testing.T) {
	without(t, "ifb", "dummy")
	newContainer(t, "ifb,no_such_module,dummy", nil).refuse("no_such_module", "loaded and kept: ifb")
	requireLoaded(t, "ifb")
}

func TestFailedStartDoesNotClaimWhatWasThere(t *testing.T) {
	without(t, "ifb")
	load(t, "ifb")
	if said := newContainer(t, "ifb,no_such_module", nil).refuse("no_such_module"); strings.Contains(said, "loaded and kept") {
		t.Error("a module that was there before is said to have been loaded")
	}
	requireLoaded(t, "ifb")
}

func TestOptionInPlaceOfAModuleUnloadsNothing(t *testing.T) {
	without(t, ipvs...)
	load(t, "ip_vs")
	// Nothing uses ip_vs: modprobe -r would succeed.
	newContainer(t, "-r,ip_vs", nil).refuse("[module-hook] Failed to modprobe modules by module name is incorrect:-r")
	requireLoaded(t, "ip_vs", "nf_conntrack")
}

func TestBadNameIsRefusedBeforeAnythingIsLoaded(t *testing.T) {
	without(t, "ifb")
	for name, bad := range map[string]string{
		"path": "../ifb", "file": "/tmp/x.ko", "space": "if b", "parameter": "ifb numifbs=3", "newline": "ifb\n", "wildcard": "ip*",
	} {
		t.Run(name, func(t *testing.T) {
			newContainer(t, "ifb,"+bad, nil).refuse("[module-hook] Failed to modprobe modules by module name is incorrect:")
			requireUnloaded(t, "ifb")
		})
	}
}

func TestAliasLoadsItsModule(t *testing.T) {
	t.Run("of the kernel", func(t *testing.T) {
		without(t, "ifb")
		c := newContainer(t, "rtnl-link-ifb", nil)
		c.start()
		requireLoaded(t, "ifb")
	})
	t.Run("of the operator", func(t *testing.T) {
		without(t, "ifb", "dummy")
		modprobeConf(t, "alias tenant-nic ifb")
		c := newContainer(t, "tenant_nic", nil)
		c.start()
		requireLoaded(t, "ifb")
		requireUnloaded(t, "dummy")
	})
}

func TestBlacklistHidesAliasesButNotNames(t *testing.T) {
	without(t, "ifb")
	modprobeConf(t, "blacklist ifb")
	t.Run("alias", func(t *testing.T) {
		newContainer(t, "rtnl-link-ifb", nil).refuse("rtnl-link-ifb", "blacklist")
		requireUnloaded(t, "ifb")
	})
	t.Run("name", func(t *testing.T) {
		c := newContainer(t, "ifb", nil)
		c.start()
		requireLoaded(t, "ifb")
	})
}

func TestModuleThatTheOperatorForbids(t *testing.T) {
	without(t, "ifb")
	modprobeConf(t, "install ifb /bin/false")
	newContainer(t, "ifb", nil).refuse("ifb", "install", "/bin/false")
	requireUnloaded(t, "ifb")
}

func TestModuleThatTheOperatorTurnsIntoNothing(t *testing.T) {
	without(t, "ifb")
	// modprobe exits with 0, but the container would miss its module.
	modprobeConf(t, "install ifb /bin/true")
	newContainer(t, "ifb", nil).refuse("ifb", "/bin/true")
	requireUnloaded(t, "ifb")
}

func TestModuleThatTheKernelCommandLineForbids(t *testing.T) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil || !strings.Contains(string(cmdline), "module_blacklist=nlmon") {
		t.Fatalf("the machine was not started with module_blacklist=nlmon: %s %v", cmdline, err)
	}
	newContainer(t, "nlmon", nil).refuse("nlmon", "module_blacklist")
	requireUnloaded(t, "nlmon")
}

func TestDependenciesSoftdepsAndOptionsApply(t *testing.T) {
	without(t, "brd", "ifb", "dummy")
	modprobeConf(t, "options brd rd_nr=3 rd_size=1024", "softdep brd pre: ifb post: dummy")
	c := newContainer(t, "brd", nil)
	c.start()
	requireLoaded(t, "brd", "ifb", "dummy")
	for parameter, want := range map[string]string{"rd_nr": "3", "rd_size": "1024"} {
		t.Run(parameter, func(t *testing.T) {
			got, err := os.ReadFile("/sys/module/brd/parameters/" + parameter)
			if err != nil || strings.TrimSpace(string(got)) != want {
				t.Errorf("brd's %s is %q (%v), want %s", parameter, got, err, want)
			}
		})
	}
	// Debian's own modprobe.d: no ifb0 out of the blue.
	if _, err := os.Lstat("/sys/class/net/ifb0"); err == nil {
		t.Error("`options ifb numifbs=0` was not honoured: ifb0 is there")
	}
}

func TestOnlyWhatIsMissingExecutesModprobe(t *testing.T) {
	without(t, ipvs...)
	builtin := builtIn(t)
	for _, c := range []struct {
		name, modules string
		loaded        bool
		want          int // programs that the hook executes
	}{
		{"no modules", "", false, 0},
		{"built in", builtin + "," + strings.ReplaceAll(builtin, "_", "-"), false, 0},
		{"loaded", "ip_vs,nf_conntrack", true, 0},
		{"loaded, spelt with a dash", "ip-vs,nf-conntrack,,", true, 0},
		{"loaded and built in", "ip_vs," + builtin, true, 0},
		{"missing", "ip_vs", false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			without(t, ipvs...)
			if c.loaded {
				load(t, "ip_vs")
			}
			executed := tracedStart(t, c.modules)
			if len(executed) != 1+c.want || !strings.Contains(executed[0], hook) {
				t.Fatalf("executed, beside the hook itself, %d programs, want %d:\n%s", len(executed)-1, c.want, strings.Join(executed, "\n"))
			}
			for _, line := range executed[1:] {
				if !strings.Contains(line, "/modprobe\"") {
					t.Errorf("executed: %s", line)
				}
			}
		})
	}
}

// tracedStart starts a container whose prestart hook runs under strace and
// returns what the hook and its children executed, the hook itself first.
func tracedStart(t *testing.T, modules string) []string {
	t.Helper()
	dir := t.TempDir()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, modules, func(b *sandbox.Bundle) {
		for i, h := range b.Hooks.Prestart {
			// A file for each process: in a common one, calls interrupt each other.
			h.Args = append([]string{
				"strace", "-ff", "-q", "-o", filepath.Join(dir, "trace"), "-e", "trace=execve,execveat", "--", h.Path,
			}, h.Args[1:]...)
			h.Path = strace
			b.Hooks.Prestart[i] = h
		}
	})
	c.start()
	c.stop()
	traces, err := filepath.Glob(filepath.Join(dir, "trace.*"))
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, trace := range traces {
		data, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			switch {
			case !strings.HasPrefix(line, "exec"): // a signal, an exit
			case strings.Contains(line, hook):
				calls = slices.Insert(calls, 0, strings.TrimSpace(line))
			default:
				calls = append(calls, strings.TrimSpace(line))
			}
		}
	}
	return calls
}
