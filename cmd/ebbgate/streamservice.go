package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/telemetry"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/localbroker/delivery"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// streams serves files to devices: those defined here, and those of a cloud. Its
// methods do nothing on nil.
type streams struct {
	service *delivery.Service
	client  *delivery.Client // nil without a cloud
	cloud   *delivery.Cloud
}

// openStreams makes the service, nil when the configuration wants none.
func (g *gateway) openStreams() *streams {
	o := g.cfg.Streams
	if !o.Enabled {
		return nil
	}
	s := &streams{}
	log := g.log.With("service", "streams")
	deps := delivery.Deps{Library: delivery.OpenLibrary(o.Dir), Drops: g.drops, Health: g.health, Log: log}
	if name := o.Cloud.Upstream; name != "" {
		account := name + " " + g.cfg.Upstreams[name].MQTT.Endpoint
		cache, unkept := delivery.OpenCache(o.Dir, account, int64(o.Cloud.CacheSize))
		s.client = delivery.NewClient(o.Cloud.Thing, delivery.CBOR, streamLink{g, name})
		s.cloud = delivery.NewCloud(o.Cloud, s.client, cache, g.health, log)
		s.cloud.Pace(upstream.NewBulk(0, func() string { return g.heldBack(name) }, g.backlog.waits))
		s.cloud.Keep(roomOfCache(g.cfg).missing)
		if unkept != nil {
			log.Warn("the cache of streams cannot be opened: parts are fetched for each device", "error", unkept)
			s.cloud.Unkept(unkept)
		}
		deps.Cloud = s.cloud
	}
	s.service = delivery.New(o, deps)
	return s
}

// families are the services that have topics of the local broker.
func (g *gateway) families() []localbroker.Family {
	out := g.files.families()
	if g.streams != nil {
		out = append(out, g.streams.service)
	}
	return out
}

func (s *streams) reach(b *localbroker.Broker) {
	if s != nil {
		s.service.Reach(b)
	}
}

func (s *streams) close() {
	if s == nil {
		return
	}
	s.service.Close()
	if s.cloud != nil {
		s.cloud.Close()
	}
}

// openTalk is the connection over which an upstream is asked for streams, nil when
// it is not the one.
func (g *gateway) openTalk(name, clientID string, by leg, shared upstream.Shared, log *slog.Logger, hooks upstream.Hooks) *mqtt.Talk {
	if g.streams == nil || g.streams.client == nil || name != g.cfg.Streams.Cloud.Upstream {
		return nil
	}
	filters := delivery.Filters(g.cfg.Streams.Cloud.Thing, delivery.CBOR)
	heard := func(m *bridge.Message, wire int, ack func()) {
		if !g.streams.client.Take(m) {
			g.drops.Count("stream-answer-unclaimed", name, m.Topic)
		}
		g.ingest.Passed(name, m, wire, func(error) { ack() })
	}
	return by.talk("streams", clientID+"-streams", filters, heard, shared, log, hooks)
}

// streamLink carries requests for streams to an upstream as it is configured now.
type streamLink struct {
	g    *gateway
	name string
}

func (l streamLink) talk() *mqtt.Talk {
	links := l.g.links.Load()
	if links == nil {
		return nil
	}
	if c := (*links)[l.name]; c != nil {
		return c.talk
	}
	return nil
}

// Up implements delivery.Transport.
func (l streamLink) Up() bool {
	t := l.talk()
	return t != nil && t.Up()
}

// Publish implements delivery.Transport.
func (l streamLink) Publish(m *bridge.Message) error {
	t := l.talk()
	if t == nil {
		return errors.New("the upstream " + l.name + " is gone")
	}
	wire, err := t.Publish(m)
	if err == nil {
		l.g.ingest.Asked(l.name, m, wire)
	}
	return err
}

// overhear fetches the streams ahead that a job document names: its devices will
// ask for them in a moment.
func (g *gateway) overhear(m *bridge.Message) {
	if g.streams == nil || g.streams.cloud == nil || !strings.HasPrefix(m.Topic, "$aws/things/") || !strings.Contains(m.Topic, "/jobs/") {
		return
	}
	var document any
	if json.Unmarshal(m.Payload, &document) == nil {
		for _, id := range streamsNamed(document, nil) {
			g.streams.cloud.Prefetch(id)
		}
	}
}

// streamsNamed finds the names of streams in a job document, as FreeRTOS's OTA
// writes them and AWS's own documents do.
func streamsNamed(v any, out []string) []string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			out = streamsNamed(e, out)
		}
	case map[string]any:
		for k, e := range v {
			if id, ok := e.(string); ok && (strings.EqualFold(k, "streamname") || strings.EqualFold(k, "streamid")) && delivery.ValidID(id) {
				out = append(out, id)
				continue
			}
			out = streamsNamed(e, out)
		}
	}
	return out
}

// prefetchHandler answers POST /api/v1/streams/{id}/prefetch: the stream is
// fetched from the cloud before a device asks for it.
type prefetchHandler struct{ g *gateway }

// ServeHTTP implements [http.Handler].
func (h prefetchHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, id := h.g.streams, r.PathValue("id")
	switch {
	case s == nil || s.cloud == nil:
		http.Error(w, noCloudStreams, http.StatusConflict)
	case !delivery.ValidID(id):
		http.Error(w, "that is no name of a stream: 1 to 128 letters, digits, '_' and '-'", http.StatusBadRequest)
	case !s.cloud.Prefetch(id):
		http.Error(w, "too many streams are being fetched: try again when some are here", http.StatusTooManyRequests)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// cachedStreams is what of the cloud's streams is in the cache.
type cachedStreams struct {
	Streams []delivery.Held `json:"streams"`
	More    bool            `json:"more,omitempty"`
}

// cachedHandler answers GET /api/v1/streams/cached: what of the cloud's streams is
// here, and what is being fetched.
type cachedHandler struct{ g *gateway }

// ServeHTTP implements [http.Handler].
func (h cachedHandler) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s := h.g.streams
	if s == nil || s.cloud == nil {
		http.Error(w, noCloudStreams, http.StatusConflict)
		return
	}
	list, more := s.cloud.Held()
	telemetry.WriteJSON(w, cachedStreams{append([]delivery.Held{}, list...), more})
}

const noCloudStreams = "this gateway has no streams of a cloud: set streams.enabled and streams.cloud.upstream"
