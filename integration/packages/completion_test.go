package packages

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// ask is how each shell is asked what may stand for the last word of $1, without a
// terminal: what it would offer, a line each.
var ask = map[string]string{
	"bash": `. <(isulad-tools completion bash)
		compopt() { :; }
		COMP_LINE=$1 COMP_POINT=${#1}
		_isulad_tools isulad-tools
		[ ${#COMPREPLY[@]} = 0 ] || printf '%s\n' "${COMPREPLY[@]}"`,
	"zsh": `compdef() { :; }
		_files() { :; }
		compadd() { shift; print -rl -- "${(@q)@}"; }
		source <(isulad-tools completion zsh)
		words=("${(@s. .)1}") CURRENT=${#words}
		_isulad_tools`,
}

// Names of paths are whatever somebody chose.
const hostilePath = "/srv/$(touch pwned)"

func TestShellsCompleteWhatThereIs(t *testing.T) {
	web(t)
	put(t, webDir+"/device_hook.json", fmt.Sprintf(`{"bindToAdd":["/srv/data:/data:ro",%q],
		"deviceToAdd":[{"Type":"b","Major":7,"Minor":0,"PathOnHost":"/dev/sdb","PathInContainer":"/dev/data","CgroupPermissions":"rw"},
			{"Type":"c","Major":1,"Minor":3,"PathOnHost":"/dev/null","PathInContainer":"/dev/nul"}],
		"networkInterfaces":[{"Type":"eth","HostNicName":"enp3s0","CtrNicName":"eth1"}]}`, hostilePath+":/x:rw"))
	disk := hostDisk(t)
	for _, c := range []struct {
		name, line string
		want       []string
		also       bool // there may be more
	}{
		{"commands", "isulad-tools upd", []string{"update-device", "update-nic"}, false},
		{"options of a command", "isulad-tools remove-device --f", []string{"--follow-partition", "--forget"}, false},
		{"options before a command", "isulad-tools --eng", []string{"--engine"}, false},
		{"an option's values", "isulad-tools add-nic --type ", []string{"veth", "eth"}, false},
		{"containers", "isulad-tools list-path ", []string{"web"}, false},
		{"containers, behind options", "isulad-tools add-device --device-read-bps /dev/sdb:1 --force ", []string{"web"}, false},
		{"no containers of another engine", "isulad-tools --engine runc:/nowhere list-path ", nil, false},
		{"recorded devices", "isulad-tools remove-device web /dev/s", []string{"/dev/sdb:/dev/data"}, false},
		{"recorded disks for a limit", "isulad-tools update-device web --device-read-bps ", []string{"/dev/sdb:"}, false},
		{"recorded paths", "isulad-tools remove-path web /srv/d", []string{"/srv/data:/data"}, false},
		{"recorded interfaces", "isulad-tools update-nic web --name ", []string{"eth1"}, false},
		{"interfaces by their name on the host, too", "isulad-tools remove-nic web --name e", []string{"enp3s0:eth1"}, false},
		{"disks of the host", "isulad-tools add-device web /dev/", []string{disk}, true},
		{"nothing for an unknown command", "isulad-tools frobnicate x", nil, false},
		{"what a shell would run, quoted", "isulad-tools remove-path web /srv/$", []string{`/srv/\$\(touch\ pwned\):/x`}, false},
	} {
		for shell, script := range ask {
			t.Run(shell+"/"+c.name, func(t *testing.T) {
				got := strings.FieldsFunc(run(t, shell, "-c", script, shell, c.line), func(r rune) bool { return r == '\n' })
				if c.also {
					got = slices.DeleteFunc(got, func(word string) bool { return !slices.Contains(c.want, word) })
				}
				slices.Sort(got)
				slices.Sort(c.want)
				if !slices.Equal(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		}
	}
	// Readline has the word only from its last colon on.
	t.Run("bash/behind a colon", func(t *testing.T) {
		got := run(t, "bash", "-c", ask["bash"], "bash", "isulad-tools remove-path web /srv/data:/d")
		if got != "/data\n" {
			t.Errorf("got %q, want what is behind the colon", got)
		}
	})
}

// hostDisk makes the node of a disk that the kernel has.
func hostDisk(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil || len(entries) == 0 {
		t.Fatalf("this kernel has no disk: %v", err)
	}
	path := "/dev/" + entries[0].Name()
	if _, err := os.Lstat(path); err != nil {
		put(t, path, "")
		t.Cleanup(func() { os.Remove(path) })
	}
	return path
}
