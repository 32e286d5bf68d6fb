package golden

import "maps"

// networkExpectations are those of the commands for interfaces and routes.
var networkExpectations = map[string]expectation{
	// Values are compared, not their spelling, and a limit is a limit.
	"add-nic-dup-mac-case": {exit: 1, stderr: "failed to add nic into container: interface mac conflict: 00:FF:48:23:E2:BB\n", hook: "before"},
	"add-nic-limit-128":    {exit: 1, stderr: "failed to add nic into container: Nic already reach max limit\n", hook: "before"},

	// A hardware address is one of Ethernet; an address can come later.
	"add-nic-mac-eui64": {
		exit: 1, stderr: "invalid network option: address 00:ff:48:23:e2:bb:00:11: a hardware address has 6 bytes, this one has 8\n", hook: "before",
	},
	"add-nic-no-ip": {
		stdout: "Add network interface (h1) to container (gold,eth1) done\n", effects: withoutAddress,
		hook: `{"networkInterfaces":[{"Ip":"","Mac":"","Mtu":1500,"Qlen":1000,"Type":"veth","Bridge":"br0g","HostNicName":"h1","CtrNicName":"eth1"}]}`,
	},

	// A message names what it is about.
	"add-nic-missing-bridge": {exit: 1, stderr: "failed to add nic into container: failed in prefunc: failed to add to bridge nobr: Device does not exist\n", effects: recordedEffects},
	"remove-nic-unknown":     {exit: 1, stderr: "failed to remove nic from container: Network interface eth9 not exist in container gold\n", effects: recordedEffects},
	"remove-nic-wrong-type":  {exit: 1, stderr: "failed to remove nic from container: Network interface eth1 with type eth not exist in container gold\n", effects: recordedEffects},
	"add-route-stopped": {
		stdout: sameOutput, effects: recordedEffects,
		stderr: "warning: add route {dest:default,src:,gw:172.17.28.1,dev:}: " +
			"no recorded interface reaches 172.17.28.1: a start fails unless a link of its own does\n",
	},

	// Open vSwitch is asked about no bridge of Linux, and forgets a port.
	"add-nic-ovs-installed-linux-bridge": {stdout: sameOutput, effects: with(recordedEffects, ovsCalls(""))},
	"remove-nic-ovs": {
		stdout:  sameOutput,
		effects: with(recordedEffects, ovsCalls("ovs-vsctl br-exists ovsbr0\novs-vsctl del-port ovsbr0 h1\n")),
	},

	"remove-nic-eth": {stdout: sameOutput, hook: "{}", effects: with(recordedEffects, comesBackUp)},

	// A link that cannot have its name back stays, and one's routes go with it.
	"remove-nic-eth-host-name-taken": {exit: 1, stderr: "failed to remove nic from container: the host has another nic with name h_phy now\n"},
	"remove-nic-with-route": {
		stdout: "Remove network interface (h1) from container (gold,eth1) done\n" +
			"Remove route from container gold, route: {dest:default,src:,gw:172.17.28.1,dev:} done\n",
		hook: "{}", effects: recordedEffects,
	},

	// An update checks first, and prints afterwards.
	"update-nic-bad-ip":         {exit: 1, stderr: sameOutput},
	"update-nic-bad-mac":        {exit: 1, stderr: sameOutput},
	"update-nic-conflict-ip":    {exit: 1, stderr: sameOutput},
	"update-nic-missing-bridge": {exit: 1, stderr: "failed to upadte nic in container: failed in prefunc: failed to add to bridge nobr: Device does not exist\n"},
	"update-nic-eth-bridge":     {exit: 1, stderr: "failed to upadte nic in container: for eth type, bridge cannot be set\n", hook: "before"},
	"update-nic-qlen-negative":  {exit: 1, stderr: "failed to upadte nic in container: Qlen must not be less than 0\n"},
	"update-nic-qlen": {
		stdout: sameOutput, effects: noQueue,
		hook: `{"networkInterfaces":[{"Ip":"172.17.28.2/24","Mac":"","Mtu":1500,"Qlen":0,"Type":"veth","Bridge":"br0g","HostNicName":"h1","CtrNicName":"eth1"}]}`,
	},
	"update-nic-link-gone": {
		stdout: sameOutput, effects: madeAnew,
		hook: `{"networkInterfaces":[{"Ip":"172.17.28.2/24","Mac":"","Mtu":1300,"Qlen":1000,"Type":"veth","Bridge":"br0g","HostNicName":"h1","CtrNicName":"eth1"}]}`,
	},

	"list-nic-filter-wrong-type": {exit: 1, stderr: "failed to parse filter: Mtu: want whole number, found string\n"},

	// Bad rules are named, and change nothing.
	"add-route-bad-gw":             {exit: 1, stderr: `failed to add route: failed to parse gw "300.1.1.1" of route rule` + "\n"},
	"add-route-bad-src-with-dev":   {exit: 1, stderr: `failed to add route: failed to parse src "banana" of route rule` + "\n", hook: "before"},
	"add-route-stopped-bad-values": {exit: 1, stderr: `failed to add route: failed to parse gw "nope" of route rule` + "\n", hook: "before"},
	"add-route-stopped-empty-rule": {exit: 1, stderr: "failed to add route: src or gw or dev name is required\n", hook: "before"},
	"add-route-not-array":          {exit: 1, stderr: "malformed rule format: want array, found object\n"},
	"add-route-null-rule":          {exit: 1, stderr: "malformed rule format: rule 1: want object, found null\n", hook: "before"},
	"remove-route-null-rule":       {exit: 1, stderr: "malformed rule format: rule 1: want object, found null\n"},
	"add-route-extra-args":         {exit: 1, stderr: `/goldhost/tool/syscontainer-tools: "add-route" takes no further arguments: junk` + "\n", hook: "before"},

	"add-route-default-dev": {
		stdout: "Add route to container gold, route: {dest:default,src:,gw:,dev:eth1} done\n",
		hook: `{"networkInterfaces":[{"Ip":"172.17.28.2/24","Mac":"","Mtu":1500,"Qlen":1000,"Type":"veth","Bridge":"br0g","HostNicName":"h1","CtrNicName":"eth1"}],` +
			`"networkRoute":[{"dest":"default","src":"","gw":"","dev":"eth1"}]}`,
		effects: func(*testCase) effects {
			return effects{CtrRoutes: change{Added: []string{"dst=default dev=eth1"}}}
		},
	},
}

// ovsCalls is what ovs-vsctl is asked.
func ovsCalls(lines string) func(*testCase, *effects) {
	return func(_ *testCase, e *effects) { e.OvsCalls = lines }
}

// pairOf is a veth called eth1 in the container and h1 on the host.
func pairOf(mtu int, qlen *int) effects {
	bridge := "br0g"
	return effects{
		CtrLinks: map[string]*link{"eth1": {
			Kind: "veth", MTU: mtu, Qlen: qlen, Up: true, MAC: anyMAC,
			Inet: []string{"172.17.28.2/24 brd 172.17.28.255 scope global label eth1"},
		}},
		HostLinks: map[string]*link{"h1": {Kind: "veth", MTU: mtu, Qlen: qlen, Up: true, Master: &bridge, MAC: anyMAC}},
	}
}

// withoutAddress: an interface that gets its address in the container.
func withoutAddress(*testCase) effects {
	qlen := 1000
	e := pairOf(1500, &qlen)
	e.CtrLinks["eth1"].Inet = nil
	return e
}

// noQueue: a queue length of 0 is set when it is asked for.
func noQueue(*testCase) effects { return pairOf(1500, nil) }

// madeAnew: an interface whose link is gone is made with what it is to have.
func madeAnew(*testCase) effects {
	qlen := 1000
	e := pairOf(1300, &qlen)
	maps.Copy(e.HostLinks, map[string]*link{"br0g": {Kind: "bridge", MTU: 1300, Qlen: &qlen, Up: true, MAC: anyMAC}})
	e.CtrRoutes.Added = []string{"dst=172.17.28.0/24 dev=eth1 protocol=kernel scope=link prefsrc=172.17.28.2"}
	return e
}

// comesBackUp: the host's link is up, as it was.
func comesBackUp(_ *testCase, e *effects) {
	back := *e.HostLinks["h_phy"]
	back.Up = true
	e.HostLinks = map[string]*link{"h_phy": &back}
}
