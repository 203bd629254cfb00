package demo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
)

// mosquittoConfig is a bridge with Debian's stock persistence: the queue is in
// memory, bounded to 1,000 messages, and saved every half hour and at a clean
// stop.
const mosquittoConfig = `%slistener %s 127.0.0.1
allow_anonymous true
persistence true
persistence_location %s/
set_tcp_nodelay true

connection cloud
address %s
topic # out 1
bridge_protocol_version mqttv311
cleansession false
try_private false
notifications false
restart_timeout 1
keepalive_interval 5
`

// newMosquitto writes a configuration for a mosquitto that bridges to endpoint.
func newMosquitto(dir, endpoint string) (*child, error) {
	program, err := findMosquitto()
	if err != nil {
		return nil, err
	}
	space, err := newWorkspace(dir, "mosquitto")
	if err != nil {
		return nil, err
	}
	listen, err := freeAddr("")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root\n" // as another user it may not write our folder
	}
	config, err := space.write("mosquitto.conf", fmt.Sprintf(mosquittoConfig, user, port, space.dir, endpoint))
	if err != nil {
		return nil, err
	}
	return &child{name: "mosquitto", space: space, listen: listen, program: program, args: []string{"-c", config}}, nil
}

func findMosquitto() (string, error) {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("mosquitto is not installed: apt-get install mosquitto, and start again")
}
