package scenario

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"isula.org/isulad-tools/integration/holder"
	"isula.org/isulad-tools/integration/isula"
	"isula.org/isulad-tools/integration/sandbox"
)

var (
	update = flag.Bool("update", false, "write what the scenario finds into the table of docs/compatibility.md and its summary in README.md")
	output = flag.String("columns", "", "write what the scenario finds to a `file`, and do not look at the tables")
)

func TestMain(m *testing.M) {
	holder.Main()
	isula.Main()
	flag.Parse()
	if sandbox.CgroupParent() == "" && *update {
		// What is written inside is lost, but for the folders that go test itself
		// writes results to.
		root, err := sandbox.Module()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Args = append(os.Args[:1:1], append([]string{"-test.outputdir=" + root}, os.Args[1:]...)...)
	}
	sandbox.Main(m)
}
