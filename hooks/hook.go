// Package hooks is the OCI hook: it restores at prestart what is recorded for
// a container, and removes at poststop what the host has of it. It never
// calls isulad, which waits for the hook.
package hooks

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"isula.org/isulad-tools/internal/command"
	"isula.org/isulad-tools/internal/deadline"
	"isula.org/isulad-tools/internal/logging"
	"isula.org/isulad-tools/internal/place"
)

// Stages are the names that --state takes.
var Stages = []string{"prestart", "poststart", "poststop"}

// Hook is the hook program of one generation.
type Hook struct {
	Generation     place.Generation
	Version        string
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	log  *logrus.Logger
	wait *deadline.Waiter

	bootWait, bootTime time.Duration
	onDemand           bool // the hook is for every container of the host
}

// Run does what the command line args asks for, name being the program's, and
// returns the exit code.
func (h *Hook) Run(name string, args []string) int {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(h.Stderr)
	stage := flags.String("state", "", "set the hook's `stage`: "+strings.Join(Stages, ", "))
	file := flags.String("log", "", "append the log to `file` instead of sending it to syslog")
	flags.DurationVar(&h.bootWait, "boot-wait", bootWait, "wait this long for recorded devices that the host does not have yet, while it boots; 0: not at all")
	flags.DurationVar(&h.bootTime, "boot-time", bootTime, "the host counts as booting until its uptime is this long")
	flags.BoolVar(&h.onDemand, "on-demand", false, "do nothing for a container without records and KERNEL_MODULES")
	relabel := flags.Bool("with-relabel", false, "relabel the container's root file system for SELinux at its first start")
	// Compat: hook-help, hook-unknown-flag; hook-extra-args: surplus arguments
	// mean nothing.
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil && *stage == "poststart":
		return 0 // under runc anything else ends the container
	case err != nil:
		return 2
	}
	return h.Stage(*stage, *file, *relabel)
}

// reword is what a hook prints. iSulad takes the words that are replaced, of whatever file
// they are, for those of a container's command that is not there, and makes the exit code
// 127.
func reword(text string) string {
	return strings.ReplaceAll(text, unix.ENOENT.Error(), "it is not there")
}

// Stage runs one stage and returns the exit code. Whatever goes wrong is one
// line on standard error, and in the log.
func (h *Hook) Stage(stage, logFile string, relabel bool) int {
	if stage == "poststart" {
		// It has nothing to do, and under runc its failure would kill.
		return 0
	}
	// Ignore a terminal's signals, which are for the runtime: an interrupted change would
	// leave the container half configured.
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGTERM)
	ctx := deadline.After(hookTimeout)
	h.wait = deadline.NewWaiter(ctx)
	defer h.wait.Close()
	// What is said of the log comes last: a runtime shows the beginning of what a hook
	// wrote, and that is the refusal.
	var ofLog bytes.Buffer
	defer func() {
		if ofLog.Len() > 0 {
			fmt.Fprint(h.Stderr, reword(ofLog.String()))
		}
	}()
	h.log = logging.Hook(h.Generation.Hook, logFile, &ofLog)

	var after *followUp
	var err error
	switch stage {
	case "prestart":
		after, err = h.prestart(ctx, relabel)
	case "poststop":
		after, err = h.poststop(ctx, relabel)
	case "":
		err = fmt.Errorf("no --state: want one of %s", strings.Join(Stages, ", "))
	default:
		err = fmt.Errorf("unknown --state %q: want one of %s", stage, strings.Join(Stages, ", "))
	}
	after.do(ctx, err == nil, func(what string, err error) { h.log.Warn(what + ": " + command.OneLine(err.Error())) })
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("not done within %v: %w", hookTimeout, err)
	}
	line := reword(command.OneLine(err.Error()))
	fmt.Fprintln(h.Stderr, line)
	h.log.Error(line)
	return 1
}
