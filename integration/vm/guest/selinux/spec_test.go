//go:build vmguest

package selinux

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/sandbox"
)

const (
	mountLabel   = "system_u:object_r:container_file_t:s0:c1,c2"
	defaultLabel = "system_u:object_r:file_t:s0"
	unknownLabel = "system_u:object_r:nobodys_t:s0"

	shared = "/.sharedpath"
)

// specify sets linux.mountLabel of the container's specification; "": it has none.
func (c *container) specify(label string, maps []sandbox.IDMapping) {
	c.t.Helper()
	d := json.NewDecoder(strings.NewReader(read(c.t, c.dir+"/config.json")))
	d.UseNumber() // as sandbox.WriteBundle does
	var spec map[string]any
	must(c.t, d.Decode(&spec))
	linux := spec["linux"].(map[string]any)
	if label != "" {
		linux["mountLabel"] = label
	}
	if maps != nil {
		linux["namespaces"] = append(linux["namespaces"].([]any), map[string]any{"type": "user"})
		linux["uidMappings"], linux["gidMappings"] = maps, maps
		must(c.t, holder.Chown(c.root, maps))
	}
	data, err := json.Marshal(spec)
	must(c.t, err)
	write(c.t, c.dir+"/config.json", string(data), 0o640)
}

// tool runs a command on the container. The command may not give files labels that the
// policy does not know: the guest's policy, unlike a real one, denies that to nobody.
func (c *container) tool(command string, args ...string) (output string, code int) {
	c.t.Helper()
	cmd := exec.Command("setpriv", append([]string{"--bounding-set=-mac_admin", "/usr/local/bin/isulad-tools", "--engine", "runc", command, c.id}, args...)...)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("%v: %v", cmd.Args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (c *container) works(command string, args ...string) {
	c.t.Helper()
	if out, code := c.tool(command, args...); code != 0 {
		c.t.Errorf("%s %v: exit %d: %s", command, args, code, out)
	}
}

// pid is the container's init.
func (c *container) pid() int {
	c.t.Helper()
	pid, err := c.runc.Pid(c.id)
	must(c.t, err)
	return pid
}

// labelledBelow are the files below dirs with this label.
func labelledBelow(t *testing.T, label string, dirs ...string) (found []string) {
	t.Helper()
	for _, dir := range dirs {
		must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
			b := make([]byte, 200)
			n, e := unix.Lgetxattr(p, "security.selinux", b)
			if e == nil && string(bytes.TrimRight(b[:n], "\x00")) == label {
				found = append(found, p)
			}
			return err
		}))
	}
	return found
}

func TestWhatIsMadeInAContainerHasItsMountLabel(t *testing.T) {
	enforcingHost(t)
	maps := []sandbox.IDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	for _, row := range []struct {
		name, label string
		maps        []sandbox.IDMapping
		want        string
	}{
		{name: "a label", label: mountLabel, want: mountLabel},
		{name: "a label, in a user namespace", label: mountLabel, maps: maps, want: mountLabel},
		{name: "no label", want: defaultLabel},
		{name: "no label, in a user namespace", maps: maps, want: defaultLabel},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newContainer(t, "")
			c.specify(row.label, row.maps)
			host := filepath.Join("/opt/hosts", c.id[:12])
			write(t, host+"/file", "", 0o644)

			check := func(when string) {
				t.Helper()
				// The host does not see the container's mounts: these are the mount points.
				for _, p := range []string{"", "/dev", "/dev/zero", "/dirs", "/dirs/one", "/dirs/two", "/files", "/files/file"} {
					if got := label(t, c.root+"/made"+p); got != row.want {
						t.Errorf("%s: /made%s is labelled %s, want %s", when, p, got, row.want)
					}
				}
				inside := fmt.Sprintf("/proc/%d/root", c.pid())
				for _, p := range []string{"/dev/made", "/dev/made/full"} {
					if got := label(t, inside+p); got != row.want {
						t.Errorf("%s: %s is labelled %s, want %s", when, p, got, row.want)
					}
				}
				// What the same processes have made for the host, before and after.
				outside := labelledBelow(t, mountLabel, host, c.dir, "/run", shared)
				outside = slices.DeleteFunc(outside, func(p string) bool {
					// A node that is bound into the container is the container's.
					return strings.HasPrefix(p, shared+"/master/"+c.id+"/node-")
				})
				if len(outside) > 0 {
					t.Errorf("%s: outside the container %s is the label of %q", when, mountLabel, outside)
				}
			}

			c.start()
			c.works("add-device", "/dev/zero:/made/dev/zero", "/dev/full:/dev/made/full")
			// The host has neither directory: the second one is made when something in
			// the container has been made.
			c.works("add-path", host+"/one:/made/dirs/one", host+"/two:/made/dirs/two", host+"/file:/made/files/file")
			check("by commands")
			c.stop()
			must(t, os.RemoveAll(c.root+"/made"))
			must(t, os.RemoveAll(host+"/two"))
			c.start()
			check("at a start")
			c.stop()
		})
	}
}

func TestAnUnknownMountLabelIsRefused(t *testing.T) {
	enforcingHost(t)
	c := newContainer(t, "")
	c.start() // runc does not start a container with such a label
	c.specify(unknownLabel, nil)
	host := filepath.Join("/opt/hosts", c.id[:12])
	write(t, host+"/file", "", 0o644)
	before := c.files(host)
	for _, row := range []struct{ name, command, host, path string }{
		{"a node with its directories", "add-device", "/dev/zero", "/made/dev/zero"},
		{"a node", "add-device", "/dev/zero", "/zero"},
		{"a directory", "add-path", host, "/made/dir"},
		{"a directory that the host has not", "add-path", host + "/new", "/new"},
		{"a file", "add-path", host + "/file", "/file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			out, code := c.tool(row.command, row.host+":"+row.path)
			want := `label new files: write "` + unknownLabel + `": write /proc/thread-self/attr/fscreate: invalid argument: the host's SELinux policy does not know this label`
			if code != 1 || !strings.Contains(out, want) {
				t.Errorf("exit %d, printed %s\nwant 1 and %s", code, out, want)
			}
			made := slices.DeleteFunc(c.files(host), func(p string) bool { return slices.Contains(before, p) })
			if len(made) > 0 {
				t.Errorf("%q has been made", made)
			}
			if p := c.dir + "/device_hook.json"; there(p) && strings.Contains(read(t, p), row.path) {
				t.Errorf("it is recorded: %s", read(t, p))
			}
		})
	}
	c.stop()
}

// files are those below the container's root and dir, and what is on its way to the
// container.
func (c *container) files(dir string) []string {
	c.t.Helper()
	names, err := filepath.Glob(shared + "/*/" + c.id + "/*")
	must(c.t, err)
	for _, dir := range []string{c.root, dir} {
		must(c.t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
			names = append(names, p)
			return err
		}))
	}
	return names
}
