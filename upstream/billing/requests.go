package billing

// Requested meters one request to a store of files, in the line of its operation:
// a store bills by their number. They are no messages of a broker, so they have no
// units and no price here.
func (m *Meter) Requested(upstream, operation string) {
	k := m.count(series{upstream: upstream, direction: Link, prefix: operation}, m.options(upstream), 0, nil)
	m.write([]change{{k.messages, 1}})
}
