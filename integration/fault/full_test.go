//go:build linux && amd64

package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/fault/supervisor"
	"isula.org/isulad-tools/integration/sandbox"
)

// TestFullDisk starts a container whose bundle is on a full file system. The
// renumbered device cannot be recorded: the start is refused and the old
// records stay; with room again it starts.
func TestFullDisk(t *testing.T) {
	for _, disk := range []struct{ name, limit string }{{"no space", "size=256k"}, {"no inodes", "nr_inodes=24"}} {
		t.Run(disk.name, func(t *testing.T) {
			w := newWorld(t)
			w.learn()
			w.reset()
			must(t, unix.Mount("tmpfs", bundle, "tmpfs", 0, "mode=750,"+disk.limit))
			mounted := true
			defer func() {
				if mounted {
					must(t, unix.Unmount(bundle, unix.MNT_DETACH))
				}
			}()
			must(t, sandbox.WriteBundle(&sandbox.Bundle{Dir: bundle, ID: id, Root: image}))
			must(t, os.WriteFile(hookFile, []byte(oldRecords), 0o600))
			fillers := fill(t, bundle)

			w.start()
			res := w.run("prestart", supervisor.Fault{})
			lines := w.badEnd("prestart", res, 1)
			lines = append(lines, notOneLine(res)...)
			for _, word := range []string{"device_hook", "no space left on device"} {
				if !strings.Contains(string(res.Stderr), word) {
					lines = append(lines, fmt.Sprintf("stderr %q does not say %q", res.Stderr, word))
				}
			}
			if got, err := os.ReadFile(hookFile); err != nil || string(got) != oldRecords {
				lines = append(lines, fmt.Sprintf("device_hook.json is %q, %v; want it as it was", got, err))
			}
			w.stop()
			lines = append(lines, w.badEnd("poststop", w.run("poststop", supervisor.Fault{}), 0)...)
			for _, e := range list(t, bundle) {
				known := []string{"config.json", "device_hook.json", ".device_hook.lock", "hostname", "hosts", "mounts", "resolv.conf"}
				if !slices.Contains(known, e) && !strings.HasPrefix(e, "filler") {
					lines = append(lines, "left: "+e)
				}
			}

			for _, f := range fillers {
				must(t, os.Remove(f))
			}
			w.start()
			lines = append(lines, w.badEnd("prestart with room", w.run("prestart", supervisor.Fault{}), 0)...)
			if got, err := os.ReadFile(hookFile); err != nil || string(got) != w.reference.records {
				lines = append(lines, fmt.Sprintf("with room, device_hook.json is %q, %v", got, err))
			}
			w.stop()
			lines = append(lines, w.badEnd("poststop with room", w.run("poststop", supervisor.Fault{}), 0)...)
			must(t, unix.Unmount(bundle, 0))
			mounted = false
			lines = append(lines, w.leftBehind()...)
			lines = append(lines, w.dataTouched()...)
			for _, line := range lines {
				t.Error(line)
			}
			t.Logf("full disk, %s: refused with %q, %d violations", disk.name, short(strings.TrimSpace(string(res.Stderr))), len(lines))
		})
	}
}

// fill uses up the file system of dir, to the last byte or inode.
func fill(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	for size := 4096; ; {
		name := filepath.Join(dir, fmt.Sprintf("filler%d", len(files)))
		err := os.WriteFile(name, make([]byte, size), 0o600)
		if !errors.Is(err, unix.ENOSPC) {
			must(t, err)
			files = append(files, name)
			continue
		}
		if _, err := os.Lstat(name); err == nil {
			files = append(files, name) // there is an inode left but no block
		}
		return files
	}
}

func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
