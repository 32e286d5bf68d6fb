package scenario

// recorded is device_hook.json.
type recorded struct {
	Binds     []string `json:"bindToAdd,omitempty"`
	Devices   []device `json:"deviceToAdd,omitempty"`
	ReadIOPS  []limit  `json:"readIops,omitempty"`
	WriteIOPS []limit  `json:"writeIops,omitempty"`
	ReadBPS   []limit  `json:"readBps,omitempty"`
	WriteBPS  []limit  `json:"writeBps,omitempty"`
	Weight    []limit  `json:"blkioWeight,omitempty"`
	NICs      []nic    `json:"networkInterfaces,omitempty"`
	Routes    []route  `json:"networkRoute,omitempty"`
}

type nic struct {
	IP       string `json:"Ip"`
	MAC      string `json:"Mac"`
	MTU      int    `json:"Mtu"`
	QueueLen int    `json:"Qlen"`
	Type     string
	Bridge   string
	HostName string `json:"HostNicName"`
	Name     string `json:"CtrNicName"`
}

type route struct {
	Dest string `json:"dest"`
	Src  string `json:"src"`
	GW   string `json:"gw"`
	Dev  string `json:"dev"`

	Metric string `json:"metric,omitempty"`
}

type device struct {
	Type              string
	Minor, Major      uint32
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string
	Parent            string
}

type limit struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	Path  string `json:"path"`
	Value string `json:"value"`
}
