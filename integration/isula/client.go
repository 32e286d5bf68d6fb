package isula

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clientName as argv[0] makes the test binary the client.
const clientName = "isula"

// What the real one printed; its numbers and paths are replaced.
var (
	//go:embed testdata/running.json
	running string
	//go:embed testdata/stopped.json
	stopped string
)

const (
	theirID   = "3ff9041b5e1ca6d86b06fd5f95ccd23474728f5c4a9436b3101e2d572729649c"
	theirName = "c-lcrsys"
	theirPid  = `"Pid": 23455`
)

// Main is the client, when the test binary is called as that; it does not return
// then.
func Main() {
	if filepath.Base(os.Args[0]) == clientName {
		os.Exit(client(os.Args[1:]))
	}
}

// client does what the command line asks for. A time-out and an unknown name are
// said in the real one's words.
func client(args []string) int {
	if err := remember(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 125
	}
	wait := 120 * time.Second
	if len(args) == 4 && args[0] == "inspect" && args[1] == "-t" {
		seconds, err := strconv.Atoi(args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 125
		}
		wait = time.Duration(seconds) * time.Second
		args = []string{args[0], args[3]}
	}
	if len(args) != 2 || args[0] != "inspect" {
		fmt.Fprintf(os.Stderr, "stand-in isula: unexpected arguments %q\n", args)
		return 125
	}
	text, err := inspect(args[1], wait)
	switch {
	case err == nil:
		fmt.Println(text)
		return 0
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(os.Stderr, "Error response from daemon: No such image or container or accelerator:%s\n", args[1])
	default:
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Fprintf(os.Stderr, "Inspect error: No such object:%s\n", args[1])
	return 1
}

// inspect describes a container, once nobody starts or stops it.
func inspect(name string, wait time.Duration) (string, error) {
	c, err := find(name)
	if err != nil {
		return "", err
	}
	timer := time.AfterFunc(wait, func() {
		fmt.Fprintf(os.Stderr, "Container %s inspect failed due to trylock timeout for %ds.\n", c.ID, int(wait.Seconds()))
		os.Exit(1)
	})
	lock, err := take(c.ID)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	timer.Stop()
	if c, err = find(c.ID); err != nil { // again, as it is now
		return "", err
	}
	text := stopped
	if c.Pid > 0 {
		text = running
	}
	return strings.NewReplacer("/var/lib/isulad/engines/lcr/"+theirID, c.Dir, theirID, c.ID, theirName, c.Name,
		theirPid, fmt.Sprintf(`"Pid": %d`, c.Pid)).Replace(strings.TrimSuffix(text, "\n")), nil
}

// remember keeps the arguments for Calls.
func remember(args []string) error {
	f, err := os.OpenFile(calls, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(args, " ") + "\n")
	return errors.Join(err, f.Close())
}
