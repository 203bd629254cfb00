package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mosquittoCommon is what every mosquitto here runs with; the table shows it.
// It syncs nothing: what it acknowledges is in memory.
const mosquittoCommon = `persistence false
max_inflight_messages %d
max_queued_messages 0
set_tcp_nodelay true
allow_anonymous true
`

// How many messages are in flight, if a part does not say otherwise: as many as AWS IoT
// Core takes of one connection.
const inFlight = 100

// mosquittoBridge makes it hand everything to another broker.
const mosquittoBridge = `connection cloud
address %s
topic dt/# out 1
bridge_protocol_version mqttv311
cleansession false
notifications false
restart_timeout 1
keepalive_interval 60
`

// broker is a mosquitto.
type broker struct {
	*child
	addr string
}

// bridged is where a mosquitto bridges to; nowhere without an address.
type bridged struct {
	address string
	ca      string // file of who has signed the certificate there; empty for no TLS
}

// startMosquitto starts a mosquitto in a folder of its own below dir; address
// is where it listens. It has so many messages in flight at most, it says.
func startMosquitto(ctx context.Context, dir, address string, to bridged, inFlight int) (*broker, error) {
	program, err := findProgram("mosquitto")
	if err != nil {
		return nil, err
	}
	name := "mosquitto-cloud"
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(mosquittoCommon, inFlight) + "listener " + port + " 127.0.0.1\n"
	if os.Geteuid() == 0 {
		config += "user root\n" // as another user it may not read our folder
	}
	if to.address != "" {
		name = "mosquitto-edge"
		config += fmt.Sprintf(mosquittoBridge, to.address)
	}
	if to.ca != "" {
		config += "bridge_cafile " + to.ca + "\n"
	}
	home, err := os.MkdirTemp(dir, name+"-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(home, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	b := &broker{child: &child{name: name, dir: home, argv: []string{program, "-c", file}}, addr: address}
	return b, b.start(ctx)
}

// openMosquitto is startMosquitto on a free port, and ready.
func openMosquitto(ctx context.Context, dir string, to bridged, inFlight int) (*broker, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	b, err := startMosquitto(ctx, dir, addr, to, inFlight)
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx, addr); err != nil {
		b.kill()
		return nil, err
	}
	return b, nil
}

// close kills it and removes its folder.
func (b *broker) close() {
	b.kill()
	_ = os.RemoveAll(b.dir) // it is below the program's own folder, which is removed at the end
}

// mosquittoVersion is the first line of its usage.
func mosquittoVersion(ctx context.Context) string {
	program, err := findProgram("mosquitto")
	if err != nil {
		return err.Error()
	}
	out, _ := exec.CommandContext(ctx, program, "-h").Output() // it exits with 3 after printing
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
