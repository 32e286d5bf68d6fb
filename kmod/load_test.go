package kmod

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const release = "6.1.0-56-amd64"

// machine is a small Debian: what modprobe and the kernel would find there.
func machine(t testing.TB, more map[string]string) string {
	t.Helper()
	lib := "/lib/modules/" + release
	files := map[string]string{
		"/proc/modules":                      "nf_conntrack 188416 1 ip_vs, Live 0x0000000000000000\nveth 36864 0 - Loading 0x0000000000000000\n",
		"/proc/cmdline":                      "ro quiet\n",
		"/run/":                              "",
		"/proc/sys/kernel/modules_disabled":  "0\n",
		"/sys/module/nf_conntrack/initstate": "live\n",
		"/sys/module/coming_one/initstate":   "coming\n",
		"/sys/module/going_one/initstate":    "going\n",
		"/sys/module/printk/parameters/":     "",
		"/sys/module/veth/":                  "",
		lib + "/modules.builtin":             "kernel/crypto/hmac.ko\nkernel/fs/fuse/fuse-dev.ko\n",
		lib + "/modules.builtin.modinfo":     "hmac.license=GPL\x00hmac.alias=crypto-hmac\x00hmac.alias=hmac\x00fuse_dev.alias=fs-fuse\x00debugfs.alias=fs-debugfs\x00",
		lib + "/modules.dep": "kernel/net/netfilter/ipvs/ip_vs.ko: kernel/net/netfilter/nf_conntrack.ko kernel/lib/libcrc32c.ko\n" +
			"kernel/net/netfilter/ipvs/ip_vs_rr.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko\n" +
			"kernel/net/netfilter/nf_conntrack.ko:\nkernel/lib/libcrc32c.ko:\n" +
			"kernel/drivers/net/nlmon.ko.zst:\nkernel/drivers/net/veth.ko:\nkernel/drivers/net/dummy.ko:\n" +
			"kernel/arch/x86/crypto/aesni-intel.ko:\nkernel/drivers/crypto/padlock-aes.ko:\n" +
			"kernel/drivers/coming-one.ko:\nkernel/drivers/going-one.ko:\n",
		lib + "/modules.alias": "# Aliases extracted from modules themselves.\nalias crypto-aes aesni_intel\nalias crypto-aes padlock_aes\n" +
			"alias ip_conntrack nf_conntrack\nalias pci:v00008086d* nlmon\nalias fs-nl[0-9] nlmon\nalias ip_vs dummy\n",
	}
	maps.Copy(files, more)
	return tree(t, files)
}

// insert makes modules live in the machine.
func insert(t testing.TB, root string, modules ...string) {
	t.Helper()
	for _, m := range modules {
		dir := root + "/sys/module/" + m
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "initstate"), []byte("live\n"), 0o444); err != nil {
			t.Fatal(err)
		}
	}
}

// load is what a container without a name gets.
func load(t testing.TB, l Loader, names []string) error {
	t.Helper()
	_, err := l.Load(t.Context(), Requester{ID: "c1"}, names)
	return err
}

// exitStatus stands for an *exec.ExitError.
type exitStatus int

func (e exitStatus) Error() string { return "exit status " + strconv.Itoa(int(e)) }
func (e exitStatus) ExitCode() int { return int(e) }

func TestPresentModulesExecuteNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		modules []string
		more    map[string]string
	}{
		{name: "none"},
		{name: "loaded", modules: []string{"nf_conntrack"}},
		{name: "loaded, with a dash", modules: []string{"nf-conntrack"}},
		{name: "built in with parameters", modules: []string{"printk"}},
		{name: "built in without", modules: []string{"hmac"}},
		{name: "built in, but not as a module", modules: []string{"debugfs", "fs-debugfs"}},
		{name: "built in, with a dash", modules: []string{"fuse-dev", "fuse_dev"}},
		{name: "alias of a loaded one", modules: []string{"ip_conntrack", "ip-conntrack"}},
		{name: "alias of a built-in one", modules: []string{"crypto-hmac", "fs-fuse", "fs_fuse"}},
		{
			name: "alias in modprobe.d", modules: []string{"ct0"},
			more: map[string]string{"/etc/modprobe.d/a.conf": "alias ct[0-9] nf-conntrack\n"},
		},
		{
			name: "alias, one target blacklisted", modules: []string{"two"},
			more: map[string]string{"/etc/modprobe.d/a.conf": "alias two nf_conntrack\nalias two dummy\nblacklist dummy\n"},
		},
		{
			name: "alias, all targets blacklisted but loaded", modules: []string{"ip_conntrack"},
			more: map[string]string{"/etc/modprobe.d/a.conf": "blacklist nf_conntrack\n"},
		},
		{
			name: "loaded although its name is an alias too", modules: []string{"nf_conntrack"},
			more: map[string]string{"/etc/modprobe.d/a.conf": "alias nf_conntrack dummy\n"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := machine(t, c.more)
			l := Loader{Root: root, Release: release, Run: func(_ context.Context, names []string) ([]byte, error) {
				t.Errorf("%s: executed for %q", c.name, names)
				return nil, nil
			}}
			if err := load(t, l, c.modules); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
}

func TestAKernelWithoutLoadableModulesHasWhatIsBuiltIn(t *testing.T) {
	t.Parallel()
	root := tree(t, map[string]string{"/sys/module/bridge/parameters/": "", "/sys/module/nf_conntrack/parameters/": ""})
	l := Loader{Root: root, Release: release, Run: func(_ context.Context, names []string) ([]byte, error) {
		t.Errorf("executed for %q", names)
		return nil, nil
	}}
	if err := load(t, l, []string{"bridge", "nf-conntrack"}); err != nil {
		t.Error(err)
	}
}

func TestALoadedModuleCostsOneFile(t *testing.T) {
	t.Parallel()
	h := Loader{Root: machine(t, nil), Release: release}.host()
	if !h.has("nf-conntrack", false) || h.files != nil || h.config != nil {
		t.Errorf("indexes %d, config %v were read for a loaded module", len(h.files), h.config)
	}
	if !h.has("hmac", false) || len(h.files) != 1 || h.config != nil {
		t.Errorf("indexes %d, config %v were read for a built-in module", len(h.files), h.config)
	}
}

func TestLoadExecutesOnceForWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		ask, run, new []string
		more          map[string]string
		err           error
	}{
		{name: "as typed, in order", ask: []string{"nf_conntrack", "ip-vs-rr", "hmac", "dummy"}, run: []string{"ip-vs-rr", "dummy"}, new: []string{"ip_vs_rr", "dummy"}},
		{name: "repeated", ask: []string{"ip_vs", "ip-vs", "ip_vs"}, run: []string{"ip_vs"}, new: []string{"ip_vs"}},
		{name: "a module, not the alias of another", ask: []string{"ip_vs"}, run: []string{"ip_vs"}, new: []string{"ip_vs"}},
		{name: "coming and going", ask: []string{"coming_one", "going_one"}, run: []string{"coming_one", "going_one"}, new: []string{"coming_one", "going_one"}},
		{name: "directory of a loadable module without initstate", ask: []string{"veth"}, run: []string{"veth"}, new: []string{"veth"}},
		{name: "alias", ask: []string{"fs-nl7"}, run: []string{"fs-nl7"}, new: []string{"nlmon"}},
		{name: "alternatives, modprobe failed for the last", ask: []string{"crypto-aes"}, run: []string{"crypto-aes"}, new: []string{"aesni_intel"}, err: exitStatus(1)},
		{
			name: "alias with a missing target", ask: []string{"two"}, run: []string{"two"}, new: []string{"dummy"},
			more: map[string]string{"/lib/modprobe.d/a.conf": "alias two nf_conntrack\nalias two dummy\n"},
		},
		{
			name: "alias in modprobe.d for a module's name", ask: []string{"ip_vs_rr"}, run: []string{"ip_vs_rr"}, new: []string{"dummy"},
			more: map[string]string{"/etc/modprobe.d/a.conf": "alias ip-vs-rr dummy\n"},
		},
		{name: "an error for what came anyhow", ask: []string{"dummy"}, run: []string{"dummy"}, new: []string{"dummy"}, err: exitStatus(1)},
		{
			name: "blacklisted by its own name", ask: []string{"dummy"}, run: []string{"dummy"}, new: []string{"dummy"},
			more: map[string]string{"/etc/modprobe.d/a.conf": "blacklist dummy\n"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := machine(t, c.more)
			calls := 0
			l := Loader{Root: root, Release: release, Run: func(_ context.Context, names []string) ([]byte, error) {
				calls++
				if !slices.Equal(names, c.run) {
					t.Errorf("%s: executed for %q, want %q", c.name, names, c.run)
				}
				insert(t, root, c.new...)
				return nil, c.err
			}}
			if err := load(t, l, c.ask); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if calls != 1 {
				t.Errorf("%s: executed %d times", c.name, calls)
			}
		})
	}
}

// The messages are those of kmod 30.
func TestLoadNamesTheReason(t *testing.T) {
	t.Parallel()
	const dir = "/lib/modules/" + release
	const badLine = "libkmod: ERROR ../libkmod/libkmod-config.c:712 kmod_config_parse: /etc/modprobe.d/t.conf line 30: ignoring bad line starting with 'nosuch'\n"
	for _, c := range []struct {
		name    string
		ask     []string
		new     []string
		more    map[string]string
		without []string
		stderr  string
		err     error
		want    string
	}{
		{
			name: "not there", ask: []string{"nosuch"}, err: exitStatus(1),
			stderr: badLine + "modprobe: WARNING: Module nosuch not found in directory " + dir + "\n",
			want:   `load kernel module "nosuch": not found in ` + dir + `: check the name, or install the package that has it`,
		},
		{
			name: "two not there, one loaded", ask: []string{"no-such1", "dummy", "nosuch2"}, new: []string{"dummy"}, err: exitStatus(1),
			want: `load kernel module "no-such1", "nosuch2": not found in ` + dir + `: check the name, or install the package that has it; loaded and kept: dummy`,
		},
		{
			name: "only what this call loaded is kept", ask: []string{"nf_conntrack", "nosuch", "ip-vs-rr"}, new: []string{"ip_vs_rr"},
			want: `load kernel module "nosuch": not found in ` + dir + `: check the name, or install the package that has it; loaded and kept: ip-vs-rr`,
		},
		{
			name: "refused by the kernel", ask: []string{"ip-vs"}, err: exitStatus(1),
			stderr: "modprobe: ERROR: could not insert 'ip_vs': Key was rejected by service\n",
			want:   `load kernel module "ip-vs": bad signature: this kernel (6.1.0-56-amd64) does not trust its key, and loads nothing else (modprobe: could not insert 'ip_vs': Key was rejected by service)`,
		},
		{
			name: "module_blacklist=", ask: []string{"dummy"}, err: exitStatus(1), more: map[string]string{"/proc/cmdline": "ro module_blacklist=btrfs,dummy quiet\n"},
			stderr: "modprobe: ERROR: could not insert 'dummy': Operation not permitted\n",
			want:   `load kernel module "dummy": it is forbidden by module_blacklist= on the kernel's command line (modprobe: could not insert 'dummy': Operation not permitted)`,
		},
		{
			name: "module_blacklist= of what it needs", ask: []string{"ip_vs"}, err: exitStatus(1), more: map[string]string{"/proc/cmdline": "module_blacklist=nf_conntrack,libcrc32c\n"},
			stderr: "modprobe: ERROR: could not insert 'ip_vs': Operation not permitted\n",
			want:   `load kernel module "ip_vs": libcrc32c, which it needs, is forbidden by module_blacklist= on the kernel's command line (modprobe: could not insert 'ip_vs': Operation not permitted)`,
		},
		{
			name: "modules_disabled", ask: []string{"dummy"}, err: exitStatus(1), more: map[string]string{"/proc/sys/kernel/modules_disabled": "1\n"},
			stderr: "modprobe: ERROR: could not insert 'dummy': Operation not permitted\n",
			want:   `load kernel module "dummy": loading modules is switched off until the next boot (sysctl kernel.modules_disabled is 1)`,
		},
		{
			name: "install /bin/false", ask: []string{"dummy"}, err: exitStatus(1), more: map[string]string{"/etc/modprobe.d/hard.conf": "# CIS\ninstall dum* /bin/false\n"},
			stderr: "modprobe: ERROR: ../libkmod/libkmod-module.c:1047 command_do() Error running install command '/bin/false' for module dummy: retcode 1\nmodprobe: ERROR: could not insert 'dummy': Invalid argument\n",
			want: "load kernel module \"dummy\": it is not loaded because of `install dum* /bin/false` in /etc/modprobe.d/hard.conf:2 " +
				`(modprobe: Error running install command '/bin/false' for module dummy: retcode 1; could not insert 'dummy': Invalid argument)`,
		},
		{
			name: "install /bin/true", ask: []string{"dummy"}, more: map[string]string{"/etc/modprobe.d/hard.conf": "install dummy /bin/true\n"},
			want: "load kernel module \"dummy\": it is not loaded because of `install dummy /bin/true` in /etc/modprobe.d/hard.conf:1",
		},
		{
			name: "install line of what it needs", ask: []string{"ip_vs"}, err: exitStatus(1), more: map[string]string{"/etc/modprobe.d/hard.conf": "install libcrc32c /bin/false\n"},
			stderr: "modprobe: ERROR: could not insert 'ip_vs': Invalid argument\n",
			want: "load kernel module \"ip_vs\": libcrc32c, which it needs, is not loaded because of `install libcrc32c /bin/false` in /etc/modprobe.d/hard.conf:1 " +
				`(modprobe: could not insert 'ip_vs': Invalid argument)`,
		},
		{
			name: "install line for no module", ask: []string{"set"}, new: []string{"dummy"}, more: map[string]string{"/etc/modprobe.d/set.conf": "install set modprobe -a dummy\n"},
			want: "load kernel module \"set\": it is not loaded because of `install set modprobe -a dummy` in /etc/modprobe.d/set.conf:1",
		},
		{
			name: "alias blacklisted away", ask: []string{"ip-nl", "fs-nl1"}, more: map[string]string{
				"/etc/modprobe.d/f.conf": "alias ip-nl dummy\nalias ip-nl nlmon\nblacklist dummy\n", "/proc/cmdline": "modprobe.blacklist=nlmon\n",
			},
			want: `load kernel module "ip-nl": every module that alias ip-nl stands for is blacklisted: dummy (/etc/modprobe.d/f.conf:3), ` +
				`nlmon (modprobe.blacklist= on the kernel's command line); name the module itself to load it all the same; ` +
				`"fs-nl1": every module that alias fs-nl1 stands for is blacklisted: nlmon (modprobe.blacklist= on the kernel's command line); name the module itself to load it all the same`,
		},
		{
			name: "alias for no module", ask: []string{"gone"}, err: exitStatus(1), more: map[string]string{"/etc/modprobe.d/f.conf": "alias gone off\n"},
			stderr: "modprobe: ERROR: ../libkmod/libkmod-module.c:895 kmod_module_insert_module() could not find module by name='off'\n" +
				"modprobe: ERROR: could not insert 'off': Unknown symbol in module, or unknown parameter (see dmesg)\n",
			want: `load kernel module "gone": alias for off (/etc/modprobe.d/f.conf:1): not found in ` + dir + `: check the name, or install the package that has it`,
		},
		{
			name: "one of an administrator's list", ask: []string{"mine"}, new: []string{"nlmon"}, err: exitStatus(1),
			more:   map[string]string{"/etc/modprobe.d/f.conf": "alias mine nlmon\nalias mine dummy\nalias mine nf_conntrack\n"},
			stderr: "modprobe: ERROR: could not insert 'dummy': Cannot allocate memory\n",
			want:   `load kernel module "mine": alias for dummy (/etc/modprobe.d/f.conf:2): could not insert 'dummy': Cannot allocate memory; loaded and kept: nlmon`,
		},
		{
			name: "no alternative works", ask: []string{"crypto-aes"}, err: exitStatus(1),
			stderr: "modprobe: ERROR: could not insert 'aesni_intel': No such device\nmodprobe: ERROR: could not insert 'padlock_aes': No such device\n",
			want: `load kernel module "crypto-aes": alias for aesni_intel (` + dir + `/modules.alias): could not insert 'aesni_intel': No such device; ` +
				`alias for padlock_aes (` + dir + `/modules.alias): could not insert 'padlock_aes': No such device`,
		},
		{
			name: "success without effect", ask: []string{"dummy"},
			want: `load kernel module "dummy": modprobe reported success, but it is neither loaded nor built in`,
		},
		{
			name: "failure without a word", ask: []string{"dummy"}, err: exitStatus(3),
			want: `load kernel module "dummy": exit status 3`,
		},
		{
			name: "still coming", ask: []string{"coming_one"},
			want: `load kernel module "coming_one": modprobe left it in state coming`,
		},
		{
			name: "out of time", ask: []string{"dummy", "nlmon"}, new: []string{"nlmon"}, err: context.DeadlineExceeded,
			want: `load kernel module "dummy": context deadline exceeded; loaded and kept: nlmon`,
		},
		{
			name: "kernel's modules not installed", ask: []string{"dummy"}, without: []string{dir}, err: exitStatus(1),
			want: `load kernel module "dummy": no modules of the running kernel are installed, there is no ` + dir + `: install them, or boot the kernel that is installed`,
		},
		{
			name: "no depmod", ask: []string{"dummy"}, without: []string{dir + "/modules.dep"}, err: exitStatus(1),
			want: `load kernel module "dummy": ` + dir + `/modules.dep is missing or empty: run depmod -a`,
		},
		{
			name: "kernel without loadable modules", ask: []string{"dummy", "printk", "nosuch"}, without: []string{"/proc/modules", "/lib/modules"}, err: exitStatus(1),
			stderr: "modprobe: WARNING: Module dummy not found in directory " + dir + "\n",
			want:   `load kernel module "dummy", "nosuch": this kernel (` + release + `) has no loadable modules, and no module of this name is known to be built in`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := machine(t, c.more)
			for _, w := range c.without {
				if err := os.RemoveAll(root + w); err != nil {
					t.Fatal(err)
				}
			}
			l := Loader{Root: root, Release: release, Run: func(context.Context, []string) ([]byte, error) {
				insert(t, root, c.new...)
				return []byte(c.stderr), c.err
			}}
			err := load(t, l, c.ask)
			if err == nil || err.Error() != c.want {
				t.Errorf("%s:\n got %v\nwant %s", c.name, err, c.want)
				return
			}
			if c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%s: the error does not wrap %v", c.name, c.err)
			}
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%s: more than one line", c.name)
			}
		})
	}
}

func TestABadNameLoadsNothing(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"-r", "--remove", "", "a b", "../x", "a=b", "x\n"} {
		l := Loader{Root: machine(t, nil), Release: release, Run: func(_ context.Context, names []string) ([]byte, error) {
			t.Errorf("executed for %q", names)
			return nil, nil
		}}
		var e *NameError
		if err := load(t, l, []string{"dummy", bad}); !errors.As(err, &e) || e.Name != bad {
			t.Errorf("Load with %q: %v", bad, err)
		}
	}
}

// Operands that look like options have unloaded modules.
func FuzzLoadNeverExecutesAnOption(f *testing.F) {
	for _, v := range []string{"-r,ip_vs", "ip_vs,-r", "a,--remove,b", "-", "--", "a b", "a\x00-r", ",-r"} {
		f.Add(v)
	}
	root := machine(f, nil)
	f.Fuzz(func(t *testing.T, value string) {
		l := Loader{Root: root, Release: release, Run: func(_ context.Context, names []string) ([]byte, error) {
			args := arguments(names)
			if !slices.Equal(args[:2], []string{"-a", "--"}) {
				t.Fatalf("arguments %q", args)
			}
			for _, a := range args[2:] {
				if a == "" || a[0] == '-' || strings.ContainsAny(a, " =/\x00\n") {
					t.Fatalf("operand %q of %q", a, value)
				}
			}
			return nil, nil
		}}
		// Neither through Requested nor around it.
		if names, err := Requested([]string{"KERNEL_MODULES=" + value}); err == nil {
			_ = load(t, l, names)
		}
		_ = load(t, l, strings.Split(value, ","))
	})
}

func BenchmarkLoadOfLoadedModules(b *testing.B) {
	root := machine(b, nil)
	names := make([]string, 16)
	for i := range names {
		names[i] = "mod-" + strconv.Itoa(i)
		insert(b, root, canonical(names[i]))
	}
	l := Loader{Root: root, Release: release, Run: func(context.Context, []string) ([]byte, error) {
		return nil, errors.New("executed")
	}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Load(b.Context(), Requester{ID: "c1"}, names); err != nil {
			b.Fatal(err)
		}
	}
}
