//go:build vmguest

package guest

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"isula.org/isulad-tools/kmod"
)

// special are names that go every way a name can go.
var special = []string{
	// with soft dependencies of their own or of what they need
	"btrfs", "nfsd", "cifs", "ksmbd", "vfio", "ipmi_msghandler", "f2fs", "lrw", "xts", "r8169", "act_mpls", "csiostor",
	// built in, there, missing, forbidden by the kernel's command line
	"unix", "af_packet", "ext4", "crc32c-intel", "no_such_module", "no-such-alias", "IFB", "nlmon",
	// of the configuration that the test writes
	"my-alias", "my-two", "my-none", "forbidden", "veth", "dummy", "nf-conntrack-alias", "ifb", "rtnl-link-ifb", "bonding",
}

// TestSecondBootForetellsModprobe compares what check-module says with what
// modprobe then does, name by name, in a kernel that fills up with modules.
func TestSecondBootForetellsModprobe(t *testing.T) {
	modprobeConf(t,
		"alias my-alias ifb", "alias my-two dummy", "alias my-two vcan", "alias my-none macvlan", "blacklist macvlan",
		"install bonding /bin/false", "softdep veth pre: vrf post: my-two nosuch", "softdep ipvlan pre: veth", "blacklist ipvlan",
	)
	names := slices.Concat(special, distribution(t, 200-len(special)))
	aliases, files, loads, failing, kernels := 0, 0, 0, 0, 0
	for _, name := range names {
		list, err := kmod.Loader{}.Check([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		f := list[0]
		out, err := exec.Command("modprobe", "-a", "-v", "--", name).CombinedOutput()
		did := inOrder(string(out))
		if len(f.Modules) > 0 && !kmod.Same(f.Modules[0], name) {
			aliases++
		}
		if f.Fails() {
			failing++
			if there(t, name, f) {
				t.Errorf("%s: check-module expects %s (%s), but it is there: %s", name, f.State, f.Reason, out)
			}
			continue
		}
		if !slices.Equal(did, f.Files) {
			t.Errorf("%s: check-module expects\n\t%s\nmodprobe did\n\t%s", name, strings.Join(f.Files, "\n\t"), strings.Join(did, "\n\t"))
		}
		files += len(did)
		if there(t, name, f) {
			loads++
			continue
		}
		// Only the kernel knows what it lacks: hardware, symbols of modules that this
		// machine's image left out; and modprobe takes EEXIST of a module's own init
		// function for success.
		kernels++
		if !(err == nil || regexp.MustCompile(`No such device|Resource temporarily unavailable|not supported|Unknown symbol`).Match(out)) {
			t.Errorf("%s: check-module expects %s, but it is not there: %v %s", name, f.State, err, out)
		}
	}
	if kernels > len(names)/20 {
		t.Errorf("%d modules did not load for reasons that only the kernel knows", kernels)
	}
	t.Logf("%d names, %d of them aliases: %d files in modprobe's order, %d there afterwards, %d foretold to fail, %d refused by the kernel for want of hardware",
		len(names), aliases, files, loads, failing, kernels)
}

// inOrder returns the files that modprobe -v says it inserts.
func inOrder(out string) []string {
	var files []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "insmod" {
			files = append(files, f[1])
		}
	}
	return files
}

// there asks the kernel, by /proc/modules and by whether check-module still has
// something to load.
func there(t *testing.T, name string, f kmod.DryRun) bool {
	t.Helper()
	loaded := modules(t)
	for _, m := range f.Modules {
		if _, ok := loaded[m]; ok {
			return true
		}
	}
	list, err := kmod.Loader{}.Check([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	return list[0].State == kmod.IsBuiltIn || list[0].State == kmod.IsPresent
}

// distribution returns n names of the distribution's modules and aliases, spread
// evenly over what needs no hardware.
func distribution(t *testing.T, n int) []string {
	t.Helper()
	dir := "/lib/modules/" + kernelRelease(t)
	dep, err := os.ReadFile(dir + "/modules.dep")
	if err != nil {
		t.Fatal(err)
	}
	alias, err := os.ReadFile(dir + "/modules.alias")
	if err != nil {
		t.Fatal(err)
	}
	var names, aliases []string
	soft := regexp.MustCompile(`^kernel/(net|fs|crypto|lib|drivers/md|drivers/net/[a-z_]+\.ko)`)
	risky := regexp.MustCompile(`test|tcrypt|ath|mac80211|kunit`)
	usable := make(map[string]bool)
	for line := range strings.Lines(string(dep)) {
		file, _, _ := strings.Cut(line, ":")
		base := strings.TrimSuffix(file[strings.LastIndex(file, "/")+1:], ".ko")
		if soft.MatchString(file) && !risky.MatchString(base) {
			names = append(names, base)
			usable[strings.ReplaceAll(base, "-", "_")] = true
		}
	}
	good := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	for line := range strings.Lines(string(alias)) {
		if f := strings.Fields(line); len(f) == 3 && good.MatchString(f[1]) && usable[f[2]] && !slices.Contains(aliases, f[1]) {
			aliases = append(aliases, f[1])
		}
	}
	return slices.Concat(spread(names, n*2/3), spread(aliases, n-n*2/3))
}

func spread(list []string, n int) []string {
	out := make([]string, 0, n)
	for i := range n {
		out = append(out, list[i*len(list)/n])
	}
	return out
}

func kernelRelease(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
