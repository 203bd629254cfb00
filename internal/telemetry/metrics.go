package telemetry

import (
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// statusCollector makes metrics of a Status at each scrape, so that what
// Prometheus sees is what the CLI shows.
type statusCollector struct{ status func() Status }

func registry(status func() Status) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(statusCollector{status}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("ebbgate_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("ebbgate_"+name, help, labels, nil), prometheus.CounterValue}
}

// Describe sends nothing: the metrics depend on the configuration.
func (c statusCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c statusCollector) Collect(out chan<- prometheus.Metric) {
	s := c.status()
	send := func(m metric, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
	}
	send(gauge("build_info", "Always 1; the labels tell the version.", "version", "gateway"), 1, s.Version, s.Gateway)
	send(gauge("ready", "1 while devices' messages are taken."), flag(s.Ready))
	send(gauge("clock_synchronised", "1 while the kernel says that the clock is synchronised."), flag(s.Clock == "synchronised"))
	send(gauge("devices_connected", "Devices connected now."), float64(s.Devices.Connected))
	send(gauge("sessions", "Sessions, persistent ones included."), float64(s.Devices.Sessions))
	send(gauge("spool_disk_bytes", "Bytes that the spool occupies on the disk."), float64(s.Spool.DiskUsed))
	send(gauge("spool_disk_free_bytes", "Bytes left on the spool's disk."), float64(s.Spool.DiskFree))
	send(gauge("spool_oldest_seconds", "Age of the oldest message that waits for a cloud."), s.Spool.OldestAge)
	send(gauge("spool_drain_seconds", "Until nothing waits for any cloud, at the present rates; -1 while one of them is not draining."), s.Spool.Drain)
	send(gauge("spool_full", "1 while devices see back-pressure."), flag(s.Spool.Full))
	up := []struct {
		metric
		value func(Upstream) float64
	}{
		{gauge("upstream_up", "1 while the link is up.", "upstream"), func(u Upstream) float64 { return flag(u.Link == LinkUp) }},
		{gauge("upstream_spooled_messages", "Messages that wait for the cloud.", "upstream"), func(u Upstream) float64 { return float64(u.Depth) }},
		{gauge("upstream_spooled_bytes", "Topic and payload bytes that wait for the cloud.", "upstream"), func(u Upstream) float64 { return float64(u.Bytes) }},
		{gauge("upstream_oldest_seconds", "Age of the oldest message that waits.", "upstream"), func(u Upstream) float64 { return u.OldestAge }},
		{gauge("upstream_drain_seconds", "Until nothing waits at the present rates; -1 while it is not draining.", "upstream"), func(u Upstream) float64 { return u.Drain }},
		{gauge("upstream_in_flight", "Messages sent and not acknowledged.", "upstream"), func(u Upstream) float64 { return float64(u.InFlight) }},
		{gauge("upstream_connections", "Connections to the cloud that are up.", "upstream"), func(u Upstream) float64 { return float64(u.Connections) }},
		{gauge("upstream_connections_wanted", "Connections to the cloud that there should be.", "upstream"), func(u Upstream) float64 { return float64(u.Wanted) }},
		{counter("upstream_connects_total", "Connections to the cloud that came up since the start.", "upstream"), func(u Upstream) float64 { return float64(u.Connects) }},
		{gauge("upstream_allowed_rate", "Messages a second that may go to the cloud now; 0 is unlimited.", "upstream"), func(u Upstream) float64 { return u.Allowed }},
		{counter("upstream_throttled_total", "How often the cloud throttled us, and we slowed down, since the start.", "upstream"), func(u Upstream) float64 { return float64(u.Throttled) }},
		{gauge("upstream_dead_letters", "Messages that the cloud refused for good.", "upstream"), func(u Upstream) float64 { return float64(u.Dead) }},
		{gauge("upstream_metered_messages_today", "Metered messages (billing units) delivered today, UTC.", "upstream"), func(u Upstream) float64 { return float64(u.Units) }},
		{gauge("upstream_uncertain_messages_today", "Metered messages sent today whose fate is unknown.", "upstream"), func(u Upstream) float64 { return float64(u.Uncertain) }},
	}
	for _, u := range s.Upstreams {
		for _, m := range up {
			send(m.metric, m.value(u), u.Name)
		}
	}
	sendQueues(out, s.Queues)
	sendSteps(out, s.Steps)
	sendMetered(out, s.Upstreams)
	for _, u := range s.Upstreams {
		if t := u.Things; t != nil {
			send(gauge("upstream_things", "Things that are connections of their own, by how their connection is.", "upstream", "state"), float64(t.Connected), u.Name, "connected")
			send(gauge("upstream_things", "Things that are connections of their own, by how their connection is.", "upstream", "state"), float64(t.Idle), u.Name, "idle")
			send(gauge("upstream_things", "Things that are connections of their own, by how their connection is.", "upstream", "state"), float64(t.Configured-t.Connected-t.Idle), u.Name, "down")
		}
	}
	drops, byReason := counter("dropped_messages_total", "Messages refused or dropped since the start, by reason.", "reason"), map[string]int64{}
	for _, d := range s.Drops {
		byReason[d.Reason] += d.Count // one that is logged and one that is not may share theirs
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		send(drops, float64(byReason[reason]), reason)
	}
	refused := counter("auth_errors_total", "Requests that the policy refused since the start, by the name of AWS IoT Core's metric.", "metric")
	for _, name := range slices.Sorted(maps.Keys(s.Policy.AuthErrors)) {
		send(refused, float64(s.Policy.AuthErrors[name]), name)
	}
	send(counter("policy_sessions_ended_total", "Connections that a change of policy ended since the start."), float64(s.Policy.SessionsEnded))
	above := counter("aws_quota_exceeded_total", "What was above AWS IoT Core's quotas of pace since the start: PUBLISHes, CONNECTs, filters or messages, bytes for Q07; effect warned passed, enforced did not.", "quota", "effect")
	for _, q := range s.Quotas {
		send(above, float64(q.Warned), q.Quota, "warned")
		send(above, float64(q.Enforced), q.Quota, "enforced")
	}
	silent := counter("silent_closes_total", "MQTT 3.1.1 connections closed since the start for a reason that only MQTT 5 is told.", "reason", "mqtt5")
	for _, c := range s.SilentCloses {
		send(silent, float64(c.Count), c.Reason, c.MQTT5)
	}
	requests := counter("http_requests_total", "HTTP requests answered since the start, by AWS's name of the operation and status.", "operation", "status")
	for _, r := range s.Requests {
		send(requests, float64(r.Count), r.Operation, strconv.Itoa(r.Status))
	}
	warnings := gauge("warning", "1 for each warning that is raised now.", "code", "severity")
	for _, w := range s.Warnings {
		send(warnings, 1, w.Code, w.Severity)
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
