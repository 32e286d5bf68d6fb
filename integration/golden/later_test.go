package golden

// pending is a case that needs a kind of resource which is not served yet.
type pending struct {
	waitsFor string
	refusal  string // part of what prestart says until then; "": not run
}

// later is the one list of what is not replayed yet.
var later = map[string]pending{
	"hook-prestart-nic-bad-ip":          {"F: network interfaces", "network interface"},
	"hook-prestart-nic-bad-type":        {"F: network interfaces", "network interface"},
	"hook-prestart-nic-eth":             {"F: network interfaces", "network interface"},
	"hook-prestart-nic-eth-missing":     {"F: network interfaces", "network interface"},
	"hook-prestart-nic-host-name-taken": {"F: network interfaces", "network interface"},
	"hook-prestart-nic-missing-bridge":  {"F: network interfaces", "network interface"},
	"hook-prestart-nic-routes":          {"F: network interfaces", "network interface"},
	"hook-prestart-nic-two":             {"F: network interfaces", "network interface"},
	"hook-prestart-nic-veth":            {"F: network interfaces", "network interface"},
	"hook-poststop-eth":                 {"F: network interfaces", ""},
	"hook-poststop-nics":                {"F: network interfaces", ""},
	"hook-poststop-nics-still-there":    {"F: network interfaces", ""},

	"hook-prestart-route-empty-rule":  {"F: routes", "route"},
	"hook-prestart-route-missing-dev": {"F: routes", "route"},
	"hook-prestart-route-unreachable": {"F: routes", "route"},
}
