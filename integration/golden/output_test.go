package golden

import (
	"regexp"
	"slices"
	"strings"
)

// compareOutput compares what a command wrote to standard output or standard
// error. Log lines and help are worded anew: there it counts that they come.
func compareOutput(d *diffs, what, want, got string) {
	wantText, wantLog := splitLog(want)
	gotText, gotLog := splitLog(got)
	if wantLog != gotLog {
		d.add("%s: log lines %q, want %q", what, gotLog, wantLog)
	}
	if i := strings.Index(wantText, helpStart); i >= 0 {
		// A message may stand before it.
		wantHead, gotHead := wantText[:i], gotText
		if j := strings.Index(gotText, helpStart); j >= 0 {
			gotHead = gotText[:j]
		}
		d.compare(what, wantHead, gotHead)
		compareHelp(d, what, wantText[i:], gotText[len(gotHead):])
		return
	}
	switch {
	case versionText.MatchString(wantText):
		if tool, _, _ := strings.Cut(wantText, " "); !strings.HasPrefix(gotText, tool+" version ") {
			d.add("%s: %q is no version", what, gotText)
		}
	default:
		d.compare(what, wantText, gotText)
	}
}

const helpStart = "NAME:\n"

var versionText = regexp.MustCompile(`^\S+ version v0\.9\n`)

// splitLog separates the lines of the log from the rest, and tells their
// format: none, text or json.
func splitLog(output string) (text, log string) {
	log = "none"
	for line := range strings.Lines(output) {
		switch {
		case strings.HasPrefix(line, `time="`) && strings.Contains(line, " level="):
			log = "text"
		case strings.HasPrefix(line, "{") && strings.Contains(line, `"level":`):
			log = "json"
		default:
			text += line
		}
	}
	return text, log
}

// Options and their short forms in help, and commands.
var (
	helpOptions  = regexp.MustCompile(`(?m)(?:^   +|, )(--?[a-z][a-z-]*)`)
	helpCommands = regexp.MustCompile(`(?m)^   +([a-z][a-z-]*)(?:, [a-z])?  `)
)

// compareHelp wants every command and option of the recording in our help.
func compareHelp(d *diffs, what, want, got string) {
	names := func(text string) []string {
		var list []string
		_, text, _ = strings.Cut(text, "\nUSAGE:\n")
		for _, pattern := range []*regexp.Regexp{helpOptions, helpCommands} {
			for _, m := range pattern.FindAllStringSubmatch(text, -1) {
				list = append(list, m[1])
			}
		}
		return list
	}
	if !strings.Contains(got, "\nUSAGE:\n") {
		d.add("%s: %q is no help", what, got)
		return
	}
	have := names(got)
	for _, n := range names(want) {
		if !slices.Contains(have, n) {
			d.add("%s: the help does not name %s", what, n)
		}
	}
}
