package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/mounts"
)

// A name that the container has chosen adds no line of its own to a message.
func TestANameOfTheContainersIsOneLineOfAnError(t *testing.T) {
	const name = "gone\nAll paths removed."
	for what, fail := range map[string]func(t *testing.T) error{
		"a directory that is mounted in a path's place": func(t *testing.T) error {
			h, target := shared(t, nil)
			dir := hostDir(t)
			must(t, firstOf(os.Mkdir(dir+"/sub", 0o755), os.Mkdir(filepath.Join(dir, name), 0o755)))
			b := bindOf(dir+"/sub", "/mnt/x")
			give(t, target, b)
			within(t, target, func() error {
				return firstOf(unix.Unmount(h.at("/mnt/x"), unix.MNT_DETACH), unix.Mount(filepath.Join(dir, name), h.at("/mnt/x"), "", unix.MS_BIND, ""))
			})
			return take(t, target, nil, b)
		},
		"a link of a granted directory": func(t *testing.T) error {
			dir := hostDir(t)
			must(t, os.Symlink(name, dir+"/link"))
			return mounts.CheckHost(nil, dir+"/link")
		},
		"a link in a device's place": func(t *testing.T) error {
			dir := hostDir(t)
			must(t, os.Symlink(name, dir+"/link"))
			_, err := devices.FromNode(dir + "/link")
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			if err := fail(t); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), `gone\nAll`) {
				t.Errorf("got %v, want an error of one line with the name in it", err)
			}
		})
	}
}
