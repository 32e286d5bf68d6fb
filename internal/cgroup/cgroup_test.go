package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// top is the devices hierarchy's mount point; a machine without cgroup v1 says so.
func top(t *testing.T) (string, bool) {
	t.Helper()
	dir, err := hierarchy("devices")
	if err != nil {
		if !strings.Contains(err.Error(), "devices") {
			t.Errorf("%v, want an error that names the controller", err)
		}
		return "", false
	}
	return dir, true
}

func TestAnAbsolutePathStaysInItsHierarchy(t *testing.T) {
	t.Parallel()
	dir, v1 := top(t)
	for path, want := range map[string]string{
		"/isulad/abc":           "/isulad/abc",
		"/isulad//abc/":         "/isulad/abc",
		"/isulad/./abc":         "/isulad/abc",
		"/isulad/../abc":        "/abc",
		"/../../../etc":         "/etc",
		"/a/../../../../b":      "/b",
		"/isulad/abc/..":        "/isulad",
		"/isulad/..abc":         "/isulad/..abc",
		"/system.slice:isulad:": "/system.slice:isulad:",
		"/a b\n/é":              "/a b\n/é",
	} {
		t.Run(path, func(t *testing.T) {
			got, err := (&Container{Path: path, PID: -1}).V1("devices") // no process is looked at
			if !v1 {
				if err == nil {
					t.Errorf("%q: %s, but there is no cgroup v1", path, got)
				}
				return
			}
			if err != nil || got != filepath.Join(dir, want) {
				t.Errorf("%q: %s, %v, want %s below %s", path, got, err, want, dir)
			}
		})
	}
}

func TestEveryOtherPathIsLookedUpFromTheProcess(t *testing.T) {
	t.Parallel()
	_, v1 := top(t)
	for _, path := range []string{"", "relative", "isulad/abc", "./abc", "../abc", "system.slice:isulad:abc", ":isulad:abc", " /abc"} {
		got, err := (&Container{Path: path, PID: 1 << 30}).V1("devices")
		if !v1 {
			if !errors.Is(err, ErrNoV1) {
				t.Errorf("%q: %s, %v, want that there is no cgroup v1", path, got, err)
			}
			got, err = (&Container{Path: path, PID: 1 << 30}).V2()
		}
		if err == nil || !strings.Contains(err.Error(), "/proc/1073741824/cgroup") {
			t.Errorf("%q: %s, %v, want an error that names the process's file", path, got, err)
		}
	}
}

func TestAControllerThatDoesNotExistIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []Container{{Path: "/abc"}, {Path: "", PID: os.Getpid()}} {
		if got, err := c.V1("nosuch"); err == nil || !strings.Contains(err.Error(), "nosuch") {
			t.Errorf("%v: %s, %v, want an error that names the controller", c, got, err)
		}
	}
}

func TestOptionsAreWholeWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options, name string
		want          bool
	}{
		{"devices", "devices", true},
		{"rw,devices", "devices", true},
		{"cpu,cpuacct", "cpuacct", true},
		{"cpu,cpuacct", "cpu", true},
		{"cpuacct", "cpu", false},
		{"name=devices", "devices", false},
		{"", "devices", false},
		{"rw", "", false},
	} {
		t.Run(c.options, func(t *testing.T) {
			if got := hasOption(c.options, c.name); got != c.want {
				t.Errorf("%q in %q: %v", c.name, c.options, got)
			}
		})
	}
}

func TestTheUnitOfACgroupIsTheOneWhoseItIs(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/system.slice/runc-abc.scope":                  "runc-abc.scope",
		"/system.slice/x@1.service":                     "x@1.service",
		"/machine.slice/machine-isulad.slice/abc.scope": "abc.scope",
		"/system.slice//runc-abc.scope/":                "runc-abc.scope",
		"/system.slice/_memory.scope":                   "memory.scope",
		"/system.slice/__x.scope":                       "_x.scope",
		"/isulad/abc":                                   "",
		"/isulad/abc.scope":                             "", // not below a slice: no unit of systemd
		"/abc.scope":                                    "",
		"/":                                             "",
		"":                                              "",
		"/system.slice":                                 "",
		"/system.slice/abc":                             "",
		"/system.slice/runc-abc.scope/sshd.service":       "", // the container's own making
		"/system.slice/runc-abc.scope/x.slice/sshd.scope": "",
		"/system.slice/isulad.service/abc":                "",
		"/system.slice/../isulad/abc.scope":               "",
	} {
		t.Run(path, func(t *testing.T) {
			if got := unitOf(path); got != want {
				t.Errorf("%q: %q, want %q", path, got, want)
			}
			if got := (&Container{Path: path, PID: 1 << 30}).Unit(); got != want && strings.HasPrefix(path, "/") {
				t.Errorf("%q given: %q, want %q", path, got, want)
			}
		})
	}
	if got := (&Container{Path: "system.slice:runc:abc", PID: 1 << 30}).Unit(); got != "" {
		t.Errorf("a process that is not there is of %q", got)
	}
}

func TestCgroupV2IsLookedAtOnlyWhereVersion1HasNoController(t *testing.T) {
	t.Parallel()
	broken := errors.New("the file of the process cannot be read")
	for _, c := range []struct {
		name    string
		noV1    error
		unified bool
		err     error
	}{
		{"no hierarchy of version 1 has it", ErrNoV1, true, nil},
		{"the one that has it cannot be found out", broken, false, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			container := Container{Dirs: map[string]string{Unified: "/v2"}, noV1: map[string]error{"blkio": c.noV1}}
			dir, unified, err := container.Directory("blkio")
			if !errors.Is(err, c.err) || unified != c.unified || (err == nil) != (dir == "/v2") {
				t.Errorf("got %q, unified %v, %v; want unified %v, %v", dir, unified, err, c.unified, c.err)
			}
		})
	}
}
