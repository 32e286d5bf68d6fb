//go:build vmguest

package guest

import (
	"os"
	"strings"
	"testing"
)

const policyFile = "/etc/isulad-tools/kmod.json"

// policy installs a policy for the time of the test.
func policy(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(policyFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(policyFile); err != nil {
			t.Error(err)
		}
	})
}

func TestPolicyAllowsAndDenies(t *testing.T) {
	without(t, append([]string{"ifb", "dummy"}, ipvs...)...)
	for _, c := range []struct {
		name, policy, modules string
		denied                []string // words; none: it starts
	}{
		{"denied", `{"default":"allow","deny":["ip_vs*"]}`, "dummy,ip_vs_wrr", []string{`"ip_vs_wrr"`, `"ip_vs*" in "deny" of /etc/isulad-tools/kmod.json`}},
		{"not denied", `{"default":"allow","deny":["ip_vs_*"]}`, "ip_vs", nil},
		{"a dependency is not matched", `{"default":"allow","deny":["nf_conntrack"]}`, "ip_vs", nil},
		{"default deny", `{"default":"deny","allow":["ip_vs*"]}`, "dummy", []string{`"dummy"`, `denied by "default"`}},
		{"allowed", `{"default":"deny","allow":["ip_vs*"]}`, "ip_vs,ip_vs_wrr", nil},
		{"deny beats allow", `{"default":"deny","allow":["*"],"deny":["if?"]}`, "ifb", []string{`"if?"`}},
		{"what is built in is asked for, too", `{"default":"deny"}`, "unix", []string{`"unix"`}},
		{"nothing asked for", `{"default":"deny"}`, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			without(t, append([]string{"ifb", "dummy"}, ipvs...)...)
			policy(t, c.policy)
			d := newDriven(t, "policy", c.modules)
			if c.denied == nil {
				d.starts(t)
				return
			}
			d.refused(t, append(c.denied, "denied")...)
			requireUnloaded(t, "ifb", "dummy", "ip_vs", "ip_vs_wrr")
		})
	}
}

func TestPolicyReachesTheUserOfTheRuntime(t *testing.T) {
	without(t, ipvs...)
	policy(t, `{"default":"allow","deny":["ip-vs*"]}`)
	newContainer(t, "ip_vs", nil).refuse(`"ip_vs"`, `denied by "ip_vs*" in "deny" of /etc/isulad-tools/kmod.json`)
	requireUnloaded(t, "ip_vs")
}

// Nothing that a container can say gets it a module that the policy denies.
func TestPolicyCannotBeBypassed(t *testing.T) {
	without(t, "ifb", "dummy")
	modprobeConf(t, "alias harmless ifb", "alias harm_[a-z]* ifb", "alias dummy ifb")
	policy(t, `{"default":"allow","deny":["i[a-f]b"]}`)
	d := newDriven(t, "bypass", "")
	for _, ask := range []string{
		"ifb", "harmless", "harm-ed", "harm_x", "rtnl-link-ifb", "rtnl_link_ifb", "rtnl_link-ifb", "dummy",
		"IFB", "Ifb", "ifb.ko", "../ifb", "./ifb", "/lib/modules/ifb.ko", "kernel/drivers/net/ifb", "ifb ", " ifb", "ifb\t", "ifb\n",
		"if\\b", "if[b]", "if?", "ifb*", "-ifb", "--ifb", "-a", "ifb=1", "ifb numifbs=1", "veth ifb", "veth\nifb", "ifb\x00", "ifb;", "ＩFB",
	} {
		d.asks(t, ask)
		out, err := d.command("prestart").CombinedOutput()
		if err == nil {
			t.Errorf("%q: the container starts", ask)
		}
		t.Logf("%q: %s", ask, out)
		requireUnloaded(t, "ifb", "dummy")
	}
}

func TestPolicyOfOthersIsRefused(t *testing.T) {
	without(t, "ifb")
	for name, spoil := range map[string]struct {
		do   func() error
		want string
	}{
		"writable by all":     {func() error { return os.Chmod(policyFile, 0o646) }, "users other than root may write it (mode 0646)"},
		"writable by a group": {func() error { return os.Chmod(policyFile, 0o664) }, "users other than root may write it (mode 0664)"},
		"of another user":     {func() error { return os.Chown(policyFile, 1000, 0) }, "it belongs to user 1000"},
		"a link":              {func() error { return link(policyFile) }, "it is a symbolic link"},
		"a folder":            {func() error { _ = os.Remove(policyFile); return os.Mkdir(policyFile, 0o755) }, "it is not a regular file"},
		"broken":              {func() error { return os.WriteFile(policyFile, []byte(`{"default":"allow"`), 0) }, "ends in the middle"},
		"with an unknown key": {func() error { return os.WriteFile(policyFile, []byte(`{"default":"allow","Deny":[]}`), 0) }, `unknown key "Deny"`},
		"with a key twice":    {func() error { return os.WriteFile(policyFile, []byte(`{"default":"deny","default":"allow"}`), 0) }, `"default" stands twice`},
		"without its default": {func() error { return os.WriteFile(policyFile, []byte(`{}`), 0) }, `"default" is missing`},
		"with a path in it":   {func() error { return os.WriteFile(policyFile, []byte(`{"default":"allow","deny":["net/ifb"]}`), 0) }, `deny[0]: "net/ifb"`},
	} {
		t.Run(name, func(t *testing.T) {
			policy(t, `{"default":"allow"}`)
			if err := spoil.do(); err != nil {
				t.Fatal(err)
			}
			newDriven(t, "spoilt", "ifb").refused(t, "kernel module policy "+policyFile, spoil.want)
			requireUnloaded(t, "ifb")
			newDriven(t, "modest", "").starts(t)
		})
	}
}

func link(path string) error {
	if err := os.Rename(path, path+".real"); err != nil {
		return err
	}
	return os.Symlink(path+".real", path)
}

func TestTheContainerCannotWidenThePolicy(t *testing.T) {
	without(t, "ifb")
	policy(t, `{"default":"deny"}`)
	d := newDriven(t, "widener", "ifb")
	for _, name := range []string{"kmod.json", "device_hook.json"} {
		if err := os.WriteFile(d.dir+"/"+name, []byte(`{"default":"allow","kernelModules":["ifb"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(d.root+"/etc/isulad-tools", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.root+policyFile, []byte(`{"default":"allow"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	d.refused(t, "denied")
	// What is recorded is asked for like the rest.
	newDriven(t, "widener", "").refused(t, `"ifb"`, "denied")
	requireUnloaded(t, "ifb")
	if strings.Contains(works(t, "list-module"), "ifb") {
		t.Error("ifb is listed")
	}
}
