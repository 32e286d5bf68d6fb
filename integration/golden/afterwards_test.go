package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
)

// afterwards is what the recorder tried after the run, in single cases.
type afterwards struct {
	ListDevice *string `json:"then_list-device"`         // what list-device prints
	Content    *string `json:"content"`                  // of the file that was added
	LaterMount *string `json:"later_host_mount_visible"` // a file of a mount that the host makes later
	Parallel   *string `json:"parallel"`                 // of eight commands at once, see addInParallel
}

// tryAfterwards tries again what the recorder tried.
func (c *testCase) tryAfterwards(t *testing.T, pid int) afterwards {
	t.Helper()
	var a afterwards
	want := c.Effects.afterwards
	if want.ListDevice != nil {
		out := c.command(t, "list-device", containerName).stdout
		a.ListDevice = &out
	}
	if want.Content != nil {
		text := readInContainer(t, pid, c.addedPath())
		a.Content = &text
	}
	if want.LaterMount != nil {
		const dir = "/goldhost/dir/later"
		check(t, os.Mkdir(dir, 0o755))
		check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
		check(t, os.WriteFile(dir+"/file", []byte("inner\n"), 0o644))
		text := readInContainer(t, pid, c.addedPath()+"/later/file")
		a.LaterMount = &text
	}
	if want.Parallel != nil {
		text := c.addInParallel(t)
		a.Parallel = &text
	}
	return a
}

// addedPath is the path in the container of the case's last argument.
func (c *testCase) addedPath() string {
	return strings.Split(c.Argv[len(c.Argv)-1], ":")[1]
}

func readInContainer(t *testing.T, pid int, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fmt.Sprintf("/proc/%d/root", pid), path))
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// addInParallel runs add-device for eight paths at once, and tells their exit
// statuses and what is recorded then.
func (c *testCase) addInParallel(t *testing.T) string {
	t.Helper()
	const n = 8
	var exits [n]int
	var all sync.WaitGroup
	for i := range n {
		// A host's node can be added once, so the recorder had one for each.
		host := fmt.Sprintf("/goldhost/p%d", i+1)
		check(t, sandbox.Mknod(host, unix.S_IFCHR|0o640, 10, 229, 0, 0))
		all.Go(func() {
			exits[i] = c.command(t, "add-device", containerName, fmt.Sprintf("%s:/dev/p%d", host, i+1)).exit
		})
	}
	all.Wait()
	var text strings.Builder
	for _, e := range exits {
		fmt.Fprintf(&text, "exit=%d\n", e)
	}
	data, err := os.ReadFile(filepath.Join(c.dir(), "device_hook.json"))
	if !errors.Is(err, os.ErrNotExist) {
		check(t, err)
	}
	var paths []string
	for _, d := range readResources(json.RawMessage(data)).Devices {
		paths = append(paths, "'"+d.PathInContainer+"'")
	}
	slices.Sort(paths)
	fmt.Fprintf(&text, "[%s]\n", strings.Join(paths, ", "))
	return text.String()
}
