//go:build vmguest

package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// rebooted is a container of an iSulad whose root directory outlives the boot. Nobody stops
// it before: the machine is switched off.
var rebooted = sandbox.Bundle{
	Dir: keptGraph + "/engines/runc/" + rebootedID, ID: rebootedID, Root: "/root/rootfs/rebooted", CgroupsPath: "/isulad/" + rebootedID,
	Args: []string{"/bin/sh", "-c", "exec sleep 100000"}, Env: []string{"KERNEL_MODULES=dummy"},
}

const (
	keptGraph  = share + "/graph"
	keptData   = "/srv/kept"
	rebootedID = "b007b007b007b007b007b007b007b007b007b007b007b007b007b007b007b007"
)

// startRebooted starts it, and requires that it runs and has all that is recorded.
func startRebooted() error {
	if err := errors.Join(sandbox.Rootfs(rebooted.Root), os.MkdirAll(keptData, 0o755)); err != nil {
		return err
	}
	if err := (sandbox.Runc{}).Run(rebootedID, rebooted.Dir); err != nil {
		return err
	}
	if out, code := ofKept("check", rebootedID); code != 0 {
		return fmt.Errorf("check: exit code %d: %s", code, out)
	}
	if pid, _ := ofKept("inspect", "--format", "{{.PID}}", rebootedID); pid == "0" {
		return errors.New("it does not run")
	}
	return nil
}

// ofKept runs a command for the containers of that iSulad.
func ofKept(args ...string) (said string, code int) {
	cmd := exec.Command("/usr/local/bin/isulad-tools", append([]string{"--graph", keptGraph}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	return strings.TrimSpace(string(out)), code
}

// leaveRebooted makes it, and starts it.
func leaveRebooted() (err error) {
	if rebooted.Hooks, err = readHooks(hookSpec); err != nil {
		return err
	}
	if err := sandbox.WriteBundle(&rebooted); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"config.v2.json":  `{"CommonConfig":{"Name":"rebooted","id":"` + rebootedID + `"}}`,
		"hostconfig.json": "{}", "container_state.json": "{}",
		"device_hook.json": `{"bindToAdd":["` + keptData + `:/kept:rw"],"deviceToAdd":[{"Type":"c","Major":10,"Minor":237,` +
			`"PathOnHost":"/dev/loop-control","PathInContainer":"/dev/kept","CgroupPermissions":"rw"}]}`,
	} {
		if err := os.WriteFile(filepath.Join(rebooted.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return startRebooted()
}

// After a reboot a container does not run: it has what is recorded, no more and no less, and
// its next start gives it that.
func TestSecondBootShowsAContainerOfTheFirstAsStopped(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // of what is said
		code int
	}{
		{[]string{"check", rebootedID}, "", 0},
		{[]string{"check", "rebooted"}, "", 0},
		{[]string{"repair", rebootedID}, "", 0},
		{[]string{"inspect", "--format", "{{.PID}} {{.Hook}} {{len .Kinds}}", rebootedID}, "0 false 3", 0},
		{[]string{"who", "/dev/loop-control"}, "rebooted: device /dev/loop-control:/dev/kept:rw (10:237) (recorded)", 0},
		{[]string{"who", keptData}, "rebooted: path " + keptData + ":/kept:rw (recorded)", 0},
	} {
		if said, code := ofKept(c.args...); code != c.code || said != c.want {
			t.Errorf("%q: exit code %d: %q, want %d: %q", c.args, code, said, c.code, c.want)
		}
	}
	if said, _ := ofKept("doctor"); strings.Contains(said, "container "+rebootedID+" is gone") {
		t.Errorf("doctor: %s", said)
	}
	if err := startRebooted(); err != nil {
		t.Errorf("its next start: %v", err)
	}
	(sandbox.Runc{}).DeleteAtEnd(t, rebootedID)
}
