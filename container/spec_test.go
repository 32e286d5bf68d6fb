package container

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isula.org/isulad-tools/internal/cgroup"
	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/resource"
)

// bundle makes a bundle with this config.json.
func bundle(t testing.TB, config string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSpecsOfARealISuladAreUnderstood(t *testing.T) {
	t.Parallel()
	for name, cgroup := range map[string]string{
		"config-lcr-system.json": "/isulad/" + lcrID,
		"config-runc.json":       "/isulad/" + runcID,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ReadSpec(bundle(t, string(sample(t, name))))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			if s.Root.Path != "/root/myrootfs" || s.Linux.CgroupsPath != cgroup || !slices.Contains(s.Process.Env, "KERNEL_MODULES=ip_vs") {
				t.Errorf("%s: %+v", name, s)
			}
			if own := s.Owner(); own != (resource.MappedRoot{UID: -1, GID: -1}) {
				t.Errorf("%s: owner %v without a user namespace", name, own)
			}
		})
	}
}

// The rules are those of an ordered list, the last of which wins: see package
// cgroup.
func TestDeviceRulesAreReadAsTheirEngineReadsThem(t *testing.T) {
	t.Parallel()
	allow := func(kind string, major, minor int64, access string) cgroup.DeviceRule {
		return cgroup.DeviceRule{Allow: true, Type: kind, Major: major, Minor: minor, Access: access}
	}
	const every = cgroup.Any
	none := cgroup.DeviceRule{Type: "a", Major: every, Minor: every, Access: "rwm"}
	usual := []cgroup.DeviceRule{ // as iSulad writes them
		none, allow("c", every, every, "m"), allow("b", every, every, "m"), allow("c", 1, 3, "rwm"), allow("c", 1, 5, "rwm"), allow("c", 1, 7, "rwm"),
		allow("c", 5, 0, "rwm"), allow("c", 5, 1, "rwm"), allow("c", 5, 2, "rwm"), allow("c", 1, 8, "rwm"), allow("c", 1, 9, "rwm"),
		allow("c", 136, every, "rwm"), allow("c", 10, 200, "rwm"),
	}
	numberless := slices.Clone(usual)
	numberless[6].Minor = every
	for name, c := range map[string]struct {
		config, engine string
		want           []cgroup.DeviceRule
	}{
		"a system container of lcr": {
			string(sample(t, "config-lcr-system.json")), "lcr",
			append(slices.Clone(usual), cgroup.DeviceRule{Type: "c", Major: 10, Minor: 229, Access: "rwm"}),
		},
		"an ordinary container of lcr":         {string(sample(t, "config-runc.json")), "lcr", usual},
		"an ordinary container of runc":        {string(sample(t, "config-runc.json")), "runc", cgroup.RuncRules(numberless, nil)},
		"lcr without a rule allows everything": {`{}`, "lcr", []cgroup.DeviceRule{{Allow: true, Type: "a"}}},
		"runc adds its own":                    {`{}`, "runc", cgroup.RuncRules(nil, nil)},
		"so does what is no engine's":          {`{}`, "", cgroup.RuncRules(nil, nil)},
		"but no rule for the spec's nodes":     {`{"linux":{"devices":[{"path":"/dev/zero","type":"c"}]}}`, "runc", cgroup.RuncRules(nil, []string{"/dev/zero"})},
		"no type is every device":              {`{"linux":{"resources":{"devices":[{"access":"rwm"}]}}}`, "runc", cgroup.RuncRules([]cgroup.DeviceRule{none}, nil)},
		"a number below 0 is any number":       {`{"linux":{"resources":{"devices":[{"type":"c","major":-2,"minor":-7}]}}}`, "lcr", []cgroup.DeviceRule{{Type: "c", Major: every, Minor: every}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := ReadSpec(bundle(t, c.config))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, s.DeviceRules(c.engine)); diff != "" {
				t.Error("-want +got:\n" + diff)
			}
		})
	}
}

func TestASpecMayLackEverythingThatIsNotNeeded(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		`{}`,
		`{"root":null,"process":null,"linux":null,"hooks":null}`,
		`{"process":{"env":null}}`,
		`{"process":{"capabilities":["CAP_CHOWN","CAP_KILL"]}}`, // as older specs have it
		`{"process":{"capabilities":{"bounding":["CAP_CHOWN"]}}}`,
		`{"process":{"capabilities":7,"user":"x","args":{}}}`, // not ours to check
		`{"linux":{"resources":{"memory":{"swappiness":18446744073709551615}}}}`,
		`{"linux":{"resources":{"memory":{"limit":1e400}}}}`,
		`{"linux":{"sysctl":null,"namespaces":null,"uidMappings":[],"gidMappings":null}}`,
	} {
		s, err := ReadSpec(bundle(t, config))
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if own := s.Owner(); own != (resource.MappedRoot{UID: -1, GID: -1}) {
			t.Errorf("%s: owner %v", config, own)
		}
	}
}

func TestABrokenSpecIsRefusedByFileAndField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ config, want string }{
		{``, "middle"},
		{`{"process":{`, "middle"},
		{`{not json`, "invalid character 'n'"},
		{`[]`, "want object, found array"},
		{`"x"`, "want object, found string"},
		{`{} {}`, "after top-level value"},
		{`{"process":[]}`, "process: want object, found array"},
		{`{"process":{"env":"A=B"}}`, "process.env: want array, found string"},
		{`{"process":{"env":{"A":"B"}}}`, "process.env: want array, found object"},
		{`{"process":{"env":[1]}}`, "process.env: want string, found number"},
		{`{"root":"/r"}`, "root: want object, found string"},
		{`{"root":{"path":7}}`, "root.path: want string, found number"},
		{`{"linux":7}`, "linux: want object, found number"},
		{`{"linux":{"cgroupsPath":["/x"]}}`, "linux.cgroupsPath: want string, found array"},
		{`{"linux":{"namespaces":{}}}`, "linux.namespaces: want array, found object"},
		{`{"linux":{"namespaces":["user"]}}`, "linux.namespaces"},
		{`{"linux":{"uidMappings":[{"hostID":-1}]}}`, "linux.uidMappings.hostID"},
		{`{"linux":{"uidMappings":[{"hostID":4294967296}]}}`, "linux.uidMappings.hostID"},
		{`{"linux":{"devices":[7]}}`, "linux.devices: want object, found number"},
		{`{"linux":{"gidMappings":[{"size":"1"}]}}`, "linux.gidMappings.size: want whole number, found string"},
		{`{"linux":{"sysctl":["a"]}}`, "linux.sysctl: want object, found array"},
		{`{"linux":{"sysctl":{"a":1}}}`, "linux.sysctl: want string, found number"},
		{strings.Repeat(`{"a":`, 20000) + `1` + strings.Repeat(`}`, 20000), "exceeded max depth"},
	} {
		t.Run(c.config, func(t *testing.T) {
			dir := bundle(t, c.config)
			_, err := ReadSpec(dir)
			if err == nil {
				t.Errorf("%.60s: accepted", c.config)
				return
			}
			if msg := err.Error(); !strings.HasPrefix(msg, filepath.Join(dir, "config.json")+": ") || !strings.Contains(msg, c.want) {
				t.Errorf("%.60s: %q, want it to name the file and %q", c.config, msg, c.want)
			}
		})
	}
	if _, err := ReadSpec(t.TempDir()); !os.IsNotExist(err) || !strings.Contains(err.Error(), "config.json") {
		t.Errorf("none: %v, want ErrNotExist and its name", err)
	}
}

func TestTheSpecIsReadUpToItsBound(t *testing.T) {
	t.Parallel()
	fill := func(size int) string { return `{"x":"` + strings.Repeat("x", size-8) + `"}` }
	if _, err := ReadSpec(bundle(t, fill(maxRecord))); err != nil {
		t.Errorf("at the bound: %.200v", err)
	}
	if _, err := ReadSpec(bundle(t, fill(maxRecord+1))); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("above the bound: %.200v, want an error", err)
	}
}

func TestTheOwnerIsTheContainersOwnRootUser(t *testing.T) {
	t.Parallel()
	const user = `"namespaces":[{"type":"mount"},{"type":"user"}]`
	for _, c := range []struct {
		linux string
		want  resource.MappedRoot
	}{
		{user + `,"uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],"gidMappings":[{"containerID":0,"hostID":200000,"size":1}]`, resource.MappedRoot{UID: 100000, GID: 200000}},
		{user + `,"uidMappings":[{"containerID":1,"hostID":5,"size":9},{"hostID":7,"size":1}]`, resource.MappedRoot{UID: 7, GID: -1}},
		{user + `,"uidMappings":[{"containerID":0,"hostID":100000,"size":0}]`, resource.MappedRoot{UID: -1, GID: -1}},
		{user + `,"uidMappings":[{"containerID":1,"hostID":100000,"size":10}]`, resource.MappedRoot{UID: -1, GID: -1}},
		{user, resource.MappedRoot{UID: -1, GID: -1}},
		{user + `,"uidMappings":[{"hostID":4294967295,"size":1}]`, resource.MappedRoot{UID: 4294967295, GID: -1}},
		// Mappings alone make no user namespace: ownership is the host's then.
		{`"namespaces":[{"type":"mount"}],"uidMappings":[{"hostID":100000,"size":65536}],"gidMappings":[{"hostID":100000,"size":65536}]`, resource.MappedRoot{UID: -1, GID: -1}},
	} {
		t.Run(c.linux, func(t *testing.T) {
			s, err := ReadSpec(bundle(t, `{"linux":{`+c.linux+`}}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Owner(); got != c.want {
				t.Errorf("%s: %v, want %v", c.linux, got, c.want)
			}
		})
	}
}

func TestTheRootIsTheStatesElseTheSpecs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ state, spec, want string }{
		{"/from/state", "/from/spec", "/from/state"},
		{"", "/from/spec", "/from/spec"},
		{"", "rootfs", "/b/rootfs"},
		{"", "./rootfs/", "/b/rootfs"},
		{"", "../other/rootfs", "/other/rootfs"},
	} {
		t.Run(c.state, func(t *testing.T) {
			sp := &Spec{}
			sp.Root.Path = c.spec
			if got, err := sp.RootPath("/b", c.state); err != nil || got != c.want {
				t.Errorf("%+v: %s, %v", c, got, err)
			}
		})
	}
	for _, c := range []struct{ state, spec, want string }{
		{"relative", "/from/spec", `root: "relative"`},
		{"./rootfs", "", `root: "./rootfs"`},
		{"", "", "/b/config.json: root.path: missing"},
	} {
		t.Run(c.state, func(t *testing.T) {
			sp := &Spec{}
			sp.Root.Path = c.spec
			if got, err := sp.RootPath("/b", c.state); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %s, %v, want an error that says %s", c, got, err, c.want)
			}
		})
	}
}

func FuzzSpec(f *testing.F) {
	f.Add(sample(f, "config-lcr-system.json"))
	f.Add(sample(f, "config-runc.json"))
	for _, seed := range []string{
		``, `null`, `{}`, `{"linux":{"namespaces":[{"type":"user"}],"uidMappings":[{"hostID":4294967295,"size":4294967295}]}}`,
		`{"process":{"env":["KERNEL_MODULES=a,b",""],"capabilities":["x"]},"root":{"path":"\u0000"}}`, `{"linux":{"sysctl":{"a\n":1}}}`,
		`{"process":{"env":[1e400]}}`, `{"LINUX":{"CGROUPSPATH":"/x"}}`,
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	file := filepath.Join(dir, "config.json")
	f.Fuzz(func(t *testing.T, config []byte) {
		if err := os.WriteFile(file, config, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := ReadSpec(dir)
		if err != nil {
			line := command.OneLine(err.Error())
			if !strings.HasPrefix(line, file+": ") || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("%q: %q", config, line)
			}
			return
		}
		if own := s.Owner(); own.UID < -1 || own.GID < -1 || own.UID >= 0 && len(s.Linux.UIDMappings) == 0 {
			t.Fatalf("%q: owner %v", config, own)
		}
		if p, err := s.RootPath("/b", ""); err == nil && !filepath.IsAbs(p) {
			t.Fatalf("%q: root %q", config, p)
		}
	})
}

func TestTheTreesOfASpecificationAreItsBinds(t *testing.T) {
	t.Parallel()
	s, err := ReadSpec(bundle(t, `{"mounts":[{"destination":"/proc","type":"proc","source":"proc"},
		{"destination":"/a","type":"bind","source":"/srv/a","options":["rbind","rw"]},{"destination":"/b","source":"/srv/b","options":["bind","ro"]},
		{"destination":"/c","type":"bind","source":"c"},{"destination":"/d","type":"none","source":"/srv/d","options":["rbind","rro"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(s.Trees("/b")()), "[{/srv/a true} {/srv/b false} {/b/c true} {/srv/d false}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := (*Spec)(nil).Trees("/b")(); got != nil {
		t.Errorf("without a specification: %v", got)
	}
}
