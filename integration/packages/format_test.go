package packages

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
)

// written is a manual page of those that are not made of the commands' table.
func written(t *testing.T, name string) string {
	t.Helper()
	top, err := sandbox.Module()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(top, "packaging/man", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(content), `\(dq`, `"`)
}

func TestThePoliciesOfTheManualAreValid(t *testing.T) {
	web(t)
	host(t)
	all := regexp.MustCompile(`(?m)^\.Dl (\{.*)$`).FindAllStringSubmatch(written(t, "isulad-tools-kmod.json.5"), -1)
	if len(all) < 2 {
		t.Fatalf("got only %q", all)
	}
	for _, m := range all {
		t.Run(m[1], func(t *testing.T) {
			put(t, "/etc/isulad-tools/kmod.json", m[1]+"\n")
			t.Cleanup(func() { os.Remove("/etc/isulad-tools/kmod.json") })
			if out := tool(t, "check-module", "ip_vs"); !strings.Contains(out, "ip_vs: built in") {
				t.Errorf("got %s, want that ip_vs is allowed, which is built in", out)
			}
		})
	}
}

func TestTheRecordOfTheManualIsValid(t *testing.T) {
	web(t)
	m := regexp.MustCompile(`(?s)\.Bd -literal\n(.*)\.Ed`).FindStringSubmatch(written(t, "device_hook.json.5"))
	if m == nil {
		t.Fatal("the page shows no record")
	}
	put(t, webDir+"/device_hook.json", m[1])
	for command, want := range map[string]string{
		"list-path":   `["/srv/data:/data:ro"]`,
		"list-device": `"PathOnHost":"/dev/sda"`,
	} {
		t.Run(command, func(t *testing.T) {
			if out := tool(t, command, "web"); !strings.Contains(out, want) {
				t.Errorf("got %s, want %s", out, want)
			}
		})
	}
}
