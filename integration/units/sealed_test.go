package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/internal/place"
)

// sealed runs a program where / cannot be written, what is in it can, and of the shared
// path there is what prepare makes in the directory $R.
const sealed = `
R=$(mktemp -d) && mount -t tmpfs sealed "$R" && mount --make-rprivate / || exit 99
for d in /*; do
	if [ -L "$d" ]; then cp -a "$d" "$R$d"
	elif [ -d "$d" ]; then mkdir "$R$d" && mount --rbind "$d" "$R$d" || exit 99
	fi
done
PREPARE
mount -o remount,bind,ro "$R" || exit 99
exec chroot "$R" sh -c 'SCRIPT'
`

// On a host whose / cannot be written a container starts all the same, with a device,
// and has its paths where the kernel can attach them, or somebody made the place.
func TestOnASealedHostContainersStart(t *testing.T) {
	if !canShare([]option{pivoted}) {
		return // the kernel has no way into such a container
	}
	data := hostDir(t)
	for _, c := range []struct {
		name, prepare string
		says          string // in the hook's log
	}{
		{"nothing is there", "", "ln -s /var/lib/sharedpath"},
		{"a directory", `mkdir "$R/.sharedpath"`, ""},
		{"a link", `ln -s /run/sharedpath-of-the-test "$R/.sharedpath"`, ""},
	} {
		if c.says != "" && lacks(unix.SYS_MOUNT_SETATTR) {
			continue // nothing is attached directly
		}
		t.Run(c.name, func(t *testing.T) {
			b := inBundle(t, hold(t, nil, pivoted), `{"bindToAdd":["`+data+`:/mnt/x:rw,rslave"]}`)
			log := filepath.Join(t.TempDir(), "log")
			write(t, filepath.Join(b.dir, "state"), b.state)
			bin := filepath.Join(t.TempDir(), "isulad-tools") // with no space on its way
			must(t, os.Symlink(sandbox.Binary(t), bin))
			tool := bin + " --engine runc:" + b.runc
			script := strings.Join([]string{
				`bash -c "exec -a isulad-hooks ` + bin + ` --state prestart --log ` + log + `" <` + b.dir + `/state`,
				`grep -q hi ` + b.root + `/mnt/x/file`,
				tool + ` add-path ` + b.id + ` ` + data + `:/mnt/y`, `grep -q hi ` + b.root + `/mnt/y/file`,
				tool + ` remove-path ` + b.id + ` ` + data + `:/mnt/x`, `test ! -e ` + b.root + `/mnt/x/file`,
				tool + ` remove-path ` + b.id + ` ` + data + `:/mnt/y`, `test ! -e ` + b.root + `/mnt/y/file`,
			}, " && ")
			run := strings.NewReplacer("PREPARE", c.prepare, "SCRIPT", script).Replace(sealed)
			cmd := exec.Command("unshare", "-m", "bash", "-c", run)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s; the log has %s", err, out, readIfThere(log))
			}
			_ = os.RemoveAll("/run/sharedpath-of-the-test")
			if got := b.hook(t, "poststop"); got.code != 0 {
				t.Errorf("poststop: %+v", got)
			}
			gone(t, filepath.Join(place.Isulad.Starts(), b.id))
			gone(t, filepath.Join(place.Isulad.NetNS(), b.id))
			if got := readIfThere(log); !strings.Contains(got, c.says) || c.says == "" && strings.Contains(got, "no shared path") {
				t.Errorf("the log has %q", got)
			}
		})
	}
}

func readIfThere(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}
