//go:build vmguest

package guest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/kmod"
)

// listed is what list-module prints, by module.
func listed(t *testing.T, args ...string) map[string]kmod.Status {
	t.Helper()
	out := works(t, append([]string{"list-module"}, args...)...)
	byName := map[string]kmod.Status{}
	if out == "" {
		return byName
	}
	var list []kmod.Status
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("list-module: %v: %s", err, out)
	}
	for _, s := range list {
		byName[s.Module] = s
	}
	return byName
}

func rmmod(t *testing.T, module string) {
	t.Helper()
	if out, err := exec.Command("rmmod", module).CombinedOutput(); err != nil {
		t.Fatalf("rmmod %s: %v: %s", module, err, out)
	}
}

func TestListModuleFollowsTheKernel(t *testing.T) {
	without(t, append([]string{"ifb", "dummy"}, ipvs...)...)
	load(t, "dummy")
	c := newContainer(t, "ip_vs_wrr,dummy,rtnl-link-ifb,unix", nil)
	if n := len(listed(t)); n != 0 {
		t.Errorf("%d modules are listed before the start", n)
	}
	c.start()
	now := listed(t)
	for m, origin := range map[string]string{"ip_vs_wrr": "loaded", "ip_vs": "loaded", "nf_conntrack": "loaded", "ifb": "loaded", "dummy": "found", "unix": ""} {
		t.Run(m, func(t *testing.T) {
			s, ok := now[m]
			if !ok || s.Origin != origin {
				t.Errorf("%s: listed %v, %+v, want %q", m, ok, s, origin)
			}
			if origin == "loaded" && (s.LoadedFor != c.id || s.LoadedAt == nil || s.State != "live" || s.Size == 0) {
				t.Errorf("%s: %+v", m, s)
			}
			if asked := len(s.RequestedBy) == 1 && s.RequestedBy[0].ID == c.id && s.RequestedBy[0].Running; asked != (m != "ip_vs" && m != "nf_conntrack") {
				t.Errorf("%s is asked for by %+v", m, s.RequestedBy)
			}
		})
	}
	if s := now["ip_vs"]; s.UseCount != 2 && s.UseCount != 1 || strings.Join(s.UsedBy, ",") != "ip_vs_wrr" {
		t.Errorf("ip_vs: %+v", s)
	}
	if s := now["unix"]; s.State != "built in" {
		t.Errorf("unix: %+v", s)
	}
	if s := now["ifb"]; s.RequestedBy[0].As != "rtnl-link-ifb" {
		t.Errorf("ifb is asked for as %+v", s.RequestedBy)
	}
	t.Logf("running:\n%s", works(t, "list-module", "--format", "table"))
	if of := listed(t, c.id); len(of) != 4 {
		t.Errorf("of the container %d modules are listed", len(of))
	}

	c.stop()
	after := listed(t)
	for m := range now { // what was only found and is asked for no more is nobody's business
		if _, still := after[m]; still != (m != "dummy" && m != "unix") {
			t.Errorf("after the stop, %s is listed: %v", m, still)
		}
	}
	for m, s := range after {
		if len(s.RequestedBy) > 0 || s.LoadedFor != c.id {
			t.Errorf("after the stop, %s: %+v", m, s)
		}
	}
	t.Logf("stopped:\n%s", works(t, "list-module", "--format", "table"))

	rmmod(t, "ip_vs_wrr")
	if _, still := listed(t)["ip_vs_wrr"]; still {
		t.Error("ip_vs_wrr is listed after rmmod")
	}
	rmmod(t, "ifb")
	load(t, "ifb")
	if s, still := listed(t)["ifb"]; still {
		t.Errorf("ifb, loaded by hand, is listed as ours: %+v", s)
	}
	t.Logf("after rmmod ip_vs_wrr, and rmmod and modprobe ifb by hand:\n%s", works(t, "list-module", "--format", "table"))
}

func TestModulesOfACommand(t *testing.T) {
	without(t, append([]string{"ifb", "dummy", "veth"}, ipvs...)...)
	c := newContainer(t, "dummy", nil)
	other := newDriven(t, "other", "ip_vs")
	c.start()
	syslog.forget()
	if got, want := works(t, "add-module", c.id, "ip-vs-wrr", "ifb"), "Add module (ip-vs-wrr) to container("+c.id+") done.\nAdd module (ifb) to container("+c.id+") done.\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	requireLoaded(t, "ip_vs_wrr", "ifb")
	syslog.matching(t, `tools level=info msg=audit command=add-module .*id=`+c.id+` .*outcome=loaded result=ok .* what="add kernel module ip-vs-wrr"`, 1)
	data, err := os.ReadFile(filepath.Join(c.dir, "device_hook.json"))
	if err != nil || string(data) != `{"kernelModules":["ip-vs-wrr","ifb"]}`+"\n" {
		t.Errorf("device_hook.json: %q, %v", data, err)
	}
	if s := listed(t, c.id); len(s) != 3 || len(s["ip_vs_wrr"].RequestedBy) != 1 {
		t.Errorf("listed: %+v", s)
	}
	works(t, "add-module", c.id, "ifb") // again is no error, and no second entry
	failsWith(t, []string{"Failed to add module", "no_such_module", "not found"}, "add-module", c.id, "no_such_module")
	failsWith(t, []string{"name is incorrect:-r"}, "add-module", c.id, "--", "-r")

	// At every start.
	c.stop()
	rmmod(t, "ip_vs_wrr")
	rmmod(t, "ifb")
	c.start()
	requireLoaded(t, "ip_vs_wrr", "ifb")

	// Not while somebody needs it.
	other.starts(t)
	works(t, "add-module", c.id, "ip_vs")
	failsWith(t, []string{"Failed to remove module", "ip_vs stays", "module ip_vs_wrr uses it", "container other asks for it"}, "remove-module", "--unload", c.id, "ip_vs")
	if of := listed(t, c.id); len(of) != 4 {
		t.Errorf("a refused removal changed something: %+v", of)
	}
	failsWith(t, []string{"ip_vs stays", "container other asks for it"}, "remove-module", "--unload", c.id, "ip_vs_wrr", "ip_vs")
	if got := works(t, "remove-module", "--unload", c.id, "ip_vs_wrr"); !strings.HasSuffix(got, "Unload module (ip_vs_wrr) done.\n") {
		t.Errorf("printed %q", got)
	}
	requireUnloaded(t, "ip_vs_wrr")
	requireLoaded(t, "ip_vs")
	other.end()
	if got := works(t, "remove-module", "--unload", c.id, "ip_vs"); !strings.Contains(got, "Unload module (ip_vs) done.\nUnload module (nf_conntrack) done.\n") {
		t.Errorf("printed %q", got)
	}
	requireUnloaded(t, "ip_vs", "nf_conntrack")

	// What the environment asks for, what was found, and what is in use.
	failsWith(t, []string{"dummy is named by KERNEL_MODULES"}, "remove-module", c.id, "dummy")
	failsWith(t, []string{"veth is not added by isulad-tools, can not remove it"}, "remove-module", c.id, "veth")
	load(t, "veth")
	works(t, "add-module", c.id, "veth")
	failsWith(t, []string{"veth stays: it was not loaded by this tool"}, "remove-module", "--unload", c.id, "veth")
	works(t, "remove-module", c.id, "veth")
	requireLoaded(t, "veth")
	works(t, "remove-module", "--unload", c.id, "ifb")
	requireUnloaded(t, "ifb")
	t.Logf("at the end:\n%s", works(t, "list-module", "--format", "table"))
}

// A hook killed while modprobe runs has told beforehand what it wants: whoever
// comes next knows who loaded the module.
func TestKilledHookLeavesAnAccount(t *testing.T) {
	without(t, "ifb")
	begun := filepath.Join(t.TempDir(), "begun")
	modprobeConf(t, "install ifb touch "+begun+"; sleep 1; /sbin/modprobe --ignore-install ifb")
	d := newDriven(t, "killed", "ifb")
	cmd := d.command("prestart")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if _, err := os.Stat(begun); err == nil {
			break
		}
		exec.Command("sleep", "0.02").Run()
	}
	if data, err := os.ReadFile("/run/isulad-tools/modules/loaded"); err != nil || !strings.Contains(string(data), `"pending":true`) {
		t.Errorf("while modprobe runs the account is %s, %v", data, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	// Its modprobe goes on.
	for range 500 {
		if _, there := modules(t)["ifb"]; there {
			break
		}
		exec.Command("sleep", "0.02").Run()
	}
	newDriven(t, "next", "ifb").starts(t)
	requireLoaded(t, "ifb")
	s := listed(t)["ifb"]
	if s.Origin != "loaded" || s.LoadedFor != "killed" {
		t.Errorf("ifb: %+v", s)
	}
}
