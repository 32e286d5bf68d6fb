package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Under iSulad every specification has a network namespace until the first start.
func TestTheHostsNetworkIsNotForAContainerThatDoesNotRunEither(t *testing.T) {
	t.Parallel()
	const refused = "the container has no network namespace of its own, it uses the host's"
	const rule = `[{"dest":"10.0.0.0/8","dev":"eth1"}]`
	for _, c := range []struct {
		name string
		args []string
		want string // on standard error, when it fails
	}{
		{"add-route is refused", []string{"add-route", "gold", `[{"dest":"11.0.0.0/8","dev":"eth1"}]`}, "failed to add route: " + refused + "\n"},
		{"update-nic is refused", []string{"update-nic", "--name", "eth1", "--mtu", "1400", "gold"}, "failed to upadte nic in container: " + refused + "\n"},
		{
			"add-nic is refused",
			[]string{"add-nic", "--type", "veth", "--name", "no_such_end:eth2", "--ip", "10.0.0.3/24", "--bridge", "nobr", "--update-config-only", "gold"},
			"failed to add nic into container: " + refused + "\n",
		},
		{"remove-route takes the record out", []string{"remove-route", "gold", rule}, ""},
		{"remove-nic takes the record out", []string{"remove-nic", "--name", "eth1", "gold"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root, file := stopped(t, `{"networkInterfaces":[{"Ip":"10.0.0.2/24","Mtu":1500,"Type":"veth","Bridge":"nobr","HostNicName":"no_such_end","CtrNicName":"eth1"}],`+
				`"networkRoute":[{"dest":"10.0.0.0/8","src":"","gw":"","dev":"eth1"}]}`)
			for name, content := range map[string]string{
				"config.json": `{"linux":{"namespaces":[{"type":"network"}]}}`, "hostconfig.json": `{"NetworkMode":"host"}`,
			} {
				if err := os.WriteFile(filepath.Join(filepath.Dir(file), name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, _, stderr := run(t, root, c.args...)
			if want := len(c.want) > 0; stderr != c.want || (code != 0) != want {
				t.Errorf("got exit code %d, %q, want %q", code, stderr, c.want)
			}
		})
	}
}

func TestADirectoryOfTheHostThatIsMadeIsSaid(t *testing.T) {
	t.Parallel()
	root, file := stopped(t, `{}`)
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "config.json"), []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "mistyped")
	code, stdout, stderr := run(t, root, "add-path", "gold", dir+":/a", dir+":/b")
	if code != 0 || strings.Count(stdout, "done.\n") != 2 || stderr != "warning: add path "+dir+":/a:rw,rslave: the host had no "+dir+": made, an empty directory\n" {
		t.Errorf("exit code %d, printed %q and %q", code, stdout, stderr)
	}
}
