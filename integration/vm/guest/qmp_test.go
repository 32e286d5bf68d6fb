//go:build vmguest

package guest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// qmp tells the guest's own QEMU something, as hack/vm/guest/qmp does, and
// requires it to agree.
func qmp(t *testing.T, command string, arguments map[string]any) json.RawMessage {
	t.Helper()
	answer, refused := askQMP(t, command, arguments)
	if refused != "" {
		t.Fatalf("qmp %s %v: %s", command, arguments, refused)
	}
	return answer
}

// askQMP is qmp that may be refused.
func askQMP(t *testing.T, command string, arguments map[string]any) (answer json.RawMessage, refused string) {
	t.Helper()
	port, err := os.OpenFile("/run/qmp", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	id := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
	for _, message := range []map[string]any{
		{"execute": "qmp_capabilities"},
		{"execute": command, "arguments": arguments, "id": id},
	} {
		data, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := port.Write(append(data, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	// Events and the answers to whoever was there before come first.
	lines := bufio.NewScanner(port)
	for lines.Scan() {
		var answer struct {
			ID            string
			Return, Error json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil || answer.ID != id {
			continue
		}
		return answer.Return, string(answer.Error)
	}
	t.Fatalf("qmp %s %v: no answer: %v", command, arguments, lines.Err())
	return nil, ""
}

// plug plugs a device into the machine. It does not wait for the kernel. QEMU lets go of a
// drive a moment after the device that had it.
func plug(t *testing.T, driver, id string, more map[string]any) {
	t.Helper()
	arguments := map[string]any{"driver": driver, "id": id}
	for k, v := range more {
		arguments[k] = v
	}
	within(t, patience, id+" is plugged in", func() bool {
		_, refused := askQMP(t, "device_add", arguments)
		if refused != "" && !strings.Contains(refused, "Permission conflict on node") {
			t.Fatalf("qmp device_add %v: %s", arguments, refused)
		}
		return refused == ""
	})
}

// unplug pulls a device out and waits until the kernel has let it go.
func unplug(t *testing.T, id string) {
	t.Helper()
	qmp(t, "device_del", map[string]any{"id": id})
	within(t, 20*time.Second, id+" is gone", func() bool {
		plugged := qmp(t, "qom-list", map[string]any{"path": "/machine/peripheral"})
		return !strings.Contains(string(plugged), `"`+id+`"`)
	})
}

// within requires a condition to become true in time.
func within(t *testing.T, limit time.Duration, what string, true_ func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !true_(); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// isBlock tells whether there is a block device at path.
func isBlock(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK
}

// disk plugs a virtio disk in and returns its kernel name; with the test it is
// pulled out again.
func disk(t *testing.T, backend string) string {
	t.Helper()
	name := newDisk(t, func() { plug(t, "virtio-blk-pci", "disk-"+backend, map[string]any{"drive": backend}) })
	t.Cleanup(func() { unplug(t, "disk-"+backend) })
	return name
}

// blockDevices is what /sys/class/block lists.
func blockDevices(t *testing.T) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}
