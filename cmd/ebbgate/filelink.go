package main

import (
	"context"
	"log/slog"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/filetransfer"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// fileService is the name of file transfer where a route's would stand: in the bill
// and in warnings.
const fileService = "files"

// sentOn is the target that sends files to an upstream.
type sentOn struct{ *filetransfer.Target }

// Close implements io.Closer.
func (sentOn) Close() error { return nil } // its connection is the upstream's

// openSentOn makes it.
func (g *gateway) openSentOn(o configs.Export, pace *upstream.Bulk) sentOn {
	name := o.Upstream.Upstream
	link := fileLink{g, name, g.cfg.Upstreams[name].MQTT.ClientID + "-" + fileService}
	return sentOn{filetransfer.New(o.Upstream, filetransfer.Deps{
		Gateway: g.cfg.Gateway.ID, Link: link, Shelf: g.spool, Pace: pace, Log: g.log,
	})}
}

// openFileTalk is the connection over which files go to an upstream, nil when none
// go there.
func (g *gateway) openFileTalk(name, clientID string, by leg, shared upstream.Shared, log *slog.Logger, hooks upstream.Hooks) *mqtt.Talk {
	if g.files == nil {
		return nil
	}
	to, ok := g.files.target.(sentOn)
	if !ok || g.cfg.FileTransfer.Export.Upstream.Upstream != name {
		return nil
	}
	clientID += "-" + fileService
	carried := hooks.Carried
	hooks.Carried = func(bytes int) {
		carried(bytes)
		g.files.gate.Carried(bytes)
	}
	return by.talk(fileService, clientID, []string{filetransfer.ResponseFilter(clientID)}, func(m *bridge.Message, wire int, ack func()) {
		if !to.Heard(m) {
			g.drops.Count("file-answer-unclaimed", name, m.Topic)
		}
		g.ingest.Passed(name, m, wire, func(error) { ack() })
	}, shared, log, hooks)
}

// fileLink is the connection for files to an upstream as it is configured now.
type fileLink struct {
	g        *gateway
	name     string
	clientID string
}

func (l fileLink) talk() *mqtt.Talk {
	links := l.g.links.Load()
	if links == nil {
		return nil
	}
	if c := (*links)[l.name]; c != nil {
		return c.files
	}
	return nil
}

// ClientID implements filetransfer.Link.
func (l fileLink) ClientID() string { return l.clientID }

// Down implements filetransfer.Link.
func (l fileLink) Down() <-chan struct{} {
	if t := l.talk(); t != nil {
		return t.Down()
	}
	return nil
}

// Largest implements filetransfer.Link.
func (l fileLink) Largest() int {
	if t := l.talk(); t != nil {
		return t.Largest()
	}
	return 0
}

// Send implements filetransfer.Link.
func (l fileLink) Send(ctx context.Context, m *bridge.Message, report func(bridge.Outcome)) error {
	t := l.talk()
	if t == nil {
		return mqtt.ErrNotConnected
	}
	return t.Send(ctx, m, func(o bridge.Outcome) {
		l.g.ingest.Sent(l.name, fileService, m, o)
		report(o)
	})
}
