// Package kmod knows the kernel modules that a container asks for: which ones,
// whether the running kernel has them, what a name means to modprobe, and how to
// get the missing ones loaded with a reason for each that is not.
//
// It loads nothing by itself. modprobe knows dependencies, soft dependencies,
// options and compressed or signed files, and distributions patch it; so it is
// executed, but only for names that are not there yet. What modprobe would do is
// read here from the same files for two purposes: not to execute it without need
// (an alias of something loaded or built in), and to say why it did not help: it
// exits 0 without a word when it loads nothing because of a blacklist line or an
// "install X /bin/true".
//
// Facts about modprobe (kmod 30) and the kernel that decide the code were observed
// on Linux 6.1 and stand where they do.
package kmod

import (
	"fmt"
	"strings"

	"isula.org/isulad-tools/internal/command"
)

const (
	// maxName is generous: the kernel's own limit is 56 bytes for a module's name
	// and modprobe's is PATH_MAX for an alias. Golden case hook-modules-long asks
	// for 300 bytes.
	maxName = 512
	// maxNames keeps what modprobe is given below the kernel's limit for arguments.
	maxNames = 512
)

// NameError refuses a name that is none. Nothing was loaded then.
type NameError struct{ Name string }

// Error has the old tool's wording, which people look for in logs; what a
// terminal or a log could act on is escaped, and the name shortened.
//
// Compat: hook-modules-invalid-name, hook-modules-invalid-space.
func (e *NameError) Error() string {
	name, more := e.Name, ""
	if len(name) > maxName {
		name, more = name[:maxName], "..."
	}
	return "[module-hook] Failed to modprobe modules by module name is incorrect:" + command.Printable(name) + more
}

// Requested returns the module names in a container's environment, those in the
// first entry that is called KERNEL_MODULES, each once. All of them are checked:
// either all are good or there is an error.
//
// Compat: the first entry counts even when it is empty (golden cases
// hook-modules-two-entries, hook-modules-first-empty-second-set); an entry without
// "=" is none (hook-modules-no-equals); empty items are skipped
// (hook-modules-only-commas).
func Requested(env []string) ([]string, error) {
	for _, entry := range env {
		value, found := strings.CutPrefix(entry, "KERNEL_MODULES=")
		if !found {
			continue
		}
		var names []string
		for name := range strings.SplitSeq(value, ",") {
			if name != "" {
				names = append(names, name)
			}
		}
		return unique(names)
	}
	return nil, nil
}

// CheckNames refuses a list with a bad name in it.
func CheckNames(names []string) error {
	_, err := unique(names)
	return err
}

// unique checks names and drops repetitions: ip-vs is ip_vs.
func unique(names []string) ([]string, error) {
	for _, name := range names {
		if !valid(name) {
			return nil, &NameError{name}
		}
	}
	if len(names) < 2 {
		return names, nil
	}
	seen := make(map[string]bool, len(names))
	kept := names[:0:0]
	for _, name := range names {
		if c := canonical(name); !seen[c] {
			seen[c] = true
			kept = append(kept, name)
		}
	}
	if len(kept) > maxNames {
		return nil, fmt.Errorf("KERNEL_MODULES names %d kernel modules, more than %d", len(kept), maxNames)
	}
	return kept, nil
}

// valid tells whether name may be a module's name. A leading '-' would be an
// option to modprobe: "-r,ip_vs" once unloaded what it named.
func valid(name string) bool {
	if name == "" || len(name) > maxName || name[0] == '-' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// canonical is how the kernel, and kmod inside, spell a name: with '_'.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }
