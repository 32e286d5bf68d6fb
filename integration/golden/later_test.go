package golden

// pending is what a case waits for.
type pending struct {
	waitsFor string
	refusal  string // part of what prestart says until then; "": not run
}

// laterKeys are the words by which the list below can name a case: its own
// name, its group, and the commands that it uses.
func (c *testCase) laterKeys() []string {
	keys := []string{c.Name, c.Group}
	if c.Kind != "cli" {
		return keys
	}
	for _, argv := range append(c.Setup.PreCommands, c.Argv) {
		keys = append(keys, argv...)
	}
	return keys
}

// later tells whether the case is not replayed yet.
func (c *testCase) later() (pending, bool) {
	for _, key := range c.laterKeys() {
		if l, ok := later[key]; ok {
			return l, true
		}
	}
	return pending{}, false
}

// later is the one list of what is not replayed yet, by case, group or command.
var later = map[string]pending{}
