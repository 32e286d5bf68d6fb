package scenario

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"isula.org/isulad-tools/integration/sandbox"
	"isula.org/isulad-tools/integration/table"
)

// publish writes what was found where the flags say, or compares the table of
// docs/compatibility.md with it.
func publish(t *testing.T, found table.Found) {
	t.Helper()
	var names []string
	for _, row := range rows {
		names = append(names, row.what)
	}
	if *output != "" {
		data, err := json.Marshal(table.Results{Rows: names, Found: found})
		check(t, err)
		check(t, os.WriteFile(*output, data, 0o644))
		return
	}
	root, err := sandbox.Module()
	check(t, err)
	differ, err := table.Publish(root, table.Results{Rows: names, Found: found}, *update)
	check(t, err)
	if len(differ) > 0 {
		t.Errorf("run go test ./integration/scenario -update:\n%s", strings.Join(differ, "\n"))
	}
}
