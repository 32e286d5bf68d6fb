package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/integration/sandbox"
)

// A container that does not start for a record can be mended with the command that the
// refusal names, where no engine knows the container any more.
func TestARefusedStartNamesTheCommandThatMendsIt(t *testing.T) {
	for name, recorded := range map[string]string{
		"a device":     `{"deviceToAdd":[{"Type":"c","Minor":7,"Major":240,"PathOnHost":"/dev/not there","PathInContainer":"/dev/it's","CgroupPermissions":"rwm","Parent":""}]}`,
		"an interface": `{"networkInterfaces":[{"Ip":"10.98.0.2/24","Mac":"","Mtu":1500,"Qlen":1000,"Type":"veth","Bridge":"nosuchbr","HostNicName":"refusedv","CtrNicName":"eth1"}]}`,
		"a route":      `{"networkRoute":[{"dest":"10.98.0.0/24","src":"","gw":"","dev":"it's not there"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := inBundle(t, hold(t, nil), recorded)
			must(t, os.RemoveAll(filepath.Join(b.runc, b.id)))
			got := b.hook(t, "prestart")
			_, command, ok := strings.Cut(strings.TrimSpace(got.said), "to start without it run: ")
			if got.code != 1 || !ok || strings.Contains(strings.ToLower(got.said), "no such file") {
				t.Fatalf("%+v", got)
			}
			b.hook(t, "poststop")
			bin := t.TempDir()
			must(t, os.Symlink(sandbox.Binary(t), filepath.Join(bin, "isulad-tools")))
			cmd := exec.Command("sh", "-c", command)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", command, err, out)
			}
			if now := read(t, filepath.Join(b.dir, config.Name)); strings.TrimSpace(now) != "{}" {
				t.Errorf("recorded is still %s", now)
			}
			if got := b.hook(t, "prestart"); got.code != 0 {
				t.Errorf("mended, and refused: %+v", got)
			}
			b.hook(t, "poststop")
		})
	}
}

func TestABundleIsFoundByItsFolderAndNoOther(t *testing.T) {
	b := inBundle(t, hold(t, nil, pivoted), "")
	for _, c := range []struct {
		name string
		dir  string
		want int
	}{
		{"its own, while it runs", b.dir, 0},
		{"one without a specification", t.TempDir(), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := b.tool(t, "add-device", "--bundle", c.dir, b.id, "/dev/null:/dev/x:rw")
			if got.code != c.want {
				t.Errorf("%s: %+v", c.name, got)
			}
		})
	}
	if _, err := os.Lstat(b.root + "/dev/x"); err != nil {
		t.Errorf("it runs, and was only recorded: %v", err)
	}
}
