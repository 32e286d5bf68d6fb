package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/selinux"
)

// restartWait is how long isulad may take to stop and start.
const restartWait = 180 * time.Second

func (a App) relabelCommands() []cli.Command {
	return []cli.Command{{
		Name:        "relabel",
		Usage:       "relabel rootfs for running SELinux in system container",
		ArgsUsage:   "[--isulad-path path] [--rootfs rootfs]",
		Description: "switch SELinux of this host, which systemd runs, to permissive and restart isulad under init's label, so that\n   containers with SELinux of their own can start; isulad is restarted",
		Flags: []cli.Flag{
			cli.StringFlag{Name: "isulad-path", Value: "/usr/bin", Usage: "the `DIR` that isulad is installed in"},
			cli.StringFlag{Name: "rootfs", Usage: "the root `DIR` of the system that isulad runs in, when it is not /"},
			dryRunFlag,
		},
		Action: a.relabel,
	}}
}

func (a App) relabel(c *cli.Context) error {
	if c.NArg() > 0 {
		return usageError(c, "takes no further arguments: %s", strings.Join(c.Args(), " "))
	}
	host := selinux.Host{Root: cmp.Or(c.String("rootfs"), "/"), IsuladPath: c.String("isulad-path"), Wait: commandLockWait}
	for _, o := range []struct{ name, dir string }{{"rootfs", host.Root}, {"isulad-path", host.IsuladPath}} {
		if !filepath.IsAbs(o.dir) {
			return fmt.Errorf("--%s: %q is not an absolute path", o.name, o.dir)
		}
	}
	plan, err := host.Plan()
	if err != nil {
		return err
	}
	defer plan.Close()
	if c.Bool("dry-run") {
		for _, line := range plan.Steps() {
			fmt.Fprintln(a.Stdout, "would "+line)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), restartWait)
	defer cancel()
	err = plan.Do(ctx)
	a.audit(c, change{what: "relabel: " + strings.Join(plan.Steps(), "; "), err: err})
	if err != nil {
		return err
	}
	fmt.Fprintln(a.Stdout, "SELinux relabel success")
	return nil
}
