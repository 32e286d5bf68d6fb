package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli"

	"isula.org/isulad-tools/config"
	"isula.org/isulad-tools/devices"
	"isula.org/isulad-tools/mounts"
	"isula.org/isulad-tools/network"
)

// line is a command line that is being typed.
type line struct {
	app     *cli.App
	command *cli.Command // nil: it is not there yet
	engine  string
	flags   []cli.Flag // of the command, or without one those before it
	pending string     // the option whose value is being typed
	words   []string   // arguments that are whole
	current string     // what is typed of the last one
}

// complete returns what may stand for the last word, given those before it. Nothing
// is executed, and what cannot be read is left out: a person waits.
func complete(app *cli.App, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	l := line{app: app, engine: "isula", flags: app.VisibleFlags(), current: words[len(words)-1]}
	for _, word := range words[:len(words)-1] {
		l.read(word)
	}
	return l.candidates()
}

func (l *line) read(word string) {
	switch {
	case l.pending != "":
		if l.pending == "engine" {
			l.engine = word
		}
		l.pending = ""
	case strings.HasPrefix(word, "-"):
		name, value, has := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if f := flagNamed(l.flags, name); f != nil && takesValue(f) {
			if l.pending = optionNames(f)[0]; has {
				l.read(value)
			}
		}
	case l.command == nil:
		if l.command = l.app.Command(word); l.command != nil {
			l.flags = l.command.Flags
		}
	default:
		l.words = append(l.words, word)
	}
}

func flagNamed(flags []cli.Flag, name string) cli.Flag {
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(optionNames(f), name) })
	if i < 0 {
		return nil
	}
	return flags[i]
}

func takesValue(f cli.Flag) bool {
	_, isBool := f.(cli.BoolFlag)
	_, isTrue := f.(cli.BoolTFlag)
	return !isBool && !isTrue
}

func (l *line) candidates() []string {
	var all []string
	switch {
	case l.pending != "":
		all = l.values()
	case strings.HasPrefix(l.current, "-"):
		for _, f := range l.flags {
			for _, name := range optionNames(f) {
				all = append(all, dashes(name)+name)
			}
		}
		all = append(all, "--help")
	case l.command == nil:
		for _, c := range l.app.Commands {
			if !c.Hidden {
				all = append(all, c.Name)
			}
		}
	default:
		all = l.arguments()
	}
	return slices.DeleteFunc(all, func(word string) bool { return !strings.HasPrefix(word, l.current) })
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-"
	}
	return "--"
}

// values are what may stand for an option's value.
func (l *line) values() []string {
	switch l.pending {
	case "engine":
		return []string{"any", "crun", "isula", "podman", "runc"}
	case "type":
		return []string{"veth", "eth"}
	case "format":
		return []string{"json", "table"}
	case "log-format":
		return []string{"json", "text"}
	case "log-level":
		return []string{"debug", "info", "warn", "error", "fatal", "panic"}
	case "name":
		return l.recordedNICs()
	case "select":
		if l.command.Name == "remove-device" {
			return recorded(l, config.Selectors, func(s devices.Selector) string { return s.Host })
		}
		return devices.Selectable()
	}
	if !slices.ContainsFunc(limitFlags[:], func(f limitFlag) bool { return f.flag == l.pending }) {
		return nil
	}
	disks := recorded(l, config.Devices, func(d devices.Device) string {
		if d.Type != "b" {
			return ""
		}
		return d.PathOnHost
	})
	if l.command.Name == "add-device" {
		disks = append(disks, hostDisks()...)
	}
	for i := range disks {
		disks[i] += ":"
	}
	return disks
}

// arguments are what may stand for the next one of a command's.
func (l *line) arguments() []string {
	first, _, _ := strings.Cut(l.command.ArgsUsage, " ")
	switch {
	case strings.Contains(l.command.ArgsUsage, "<container>...") || len(l.words) == 0 && strings.Contains(first, "<container>"):
		return names(known(l.engine))
	case l.command.Name == "completion" && len(l.words) == 0:
		return []string{"bash", "zsh"}
	case l.command.Name == "manual" && len(l.words) == 0:
		l.command = nil
		return l.candidates()
	case l.command.Name == "add-device":
		return hostDisks()
	case l.command.Name == "remove-device":
		return recorded(l, config.Devices, func(d devices.Device) string { return d.PathOnHost + ":" + d.PathInContainer })
	case l.command.Name == "remove-path":
		return recorded(l, config.Binds, func(b mounts.Bind) string { return b.Host + ":" + b.Container })
	}
	return nil
}

func (l *line) recordedNICs() []string {
	return recorded(l, config.NetInterfaces, func(n network.NIC) string {
		if l.command.Name == "remove-nic" && n.HostName != "" {
			return n.HostName + ":" + n.Name
		}
		return n.Name
	})
}

// recorded lists what the container on the line has of a kind, as a command takes it.
func recorded[T any](l *line, key string, as func(T) string) []string {
	var all []string
	for _, c := range known(l.engine) {
		if len(l.words) == 0 || l.words[0] != c.Name && l.words[0] != c.ID {
			continue
		}
		doc, err := config.Load(c.Dir)
		if err != nil {
			return nil
		}
		list, err := config.List[T](doc, key)
		if err != nil {
			return nil
		}
		for _, r := range list {
			if word := as(r); word != "" && !slices.Contains(all, word) {
				all = append(all, word)
			}
		}
	}
	return all
}

// hostDisks are the host's disks and partitions.
func hostDisks() []string {
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		// What the kernel has a "/" in has "!" there.
		path := "/dev/" + strings.ReplaceAll(e.Name(), "!", "/")
		if _, err := os.Lstat(path); err == nil {
			all = append(all, path)
		}
	}
	return all
}
