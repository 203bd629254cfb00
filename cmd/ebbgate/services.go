package main

// link makes the present upstreams known to cloudOf. g.mu is held, or nobody
// else is there yet.
func (g *gateway) link() {
	links := make(map[string]*cloud, len(g.clouds))
	for _, c := range g.clouds {
		links[c.name] = c
	}
	g.links.Store(&links)
}

// cloudOf says whether a route takes a topic up, and whether that upstream is
// connected. The broker asks it about AWS's reserved topics; it waits for
// nobody.
func (g *gateway) cloudOf(topic string) (routed, connected bool) {
	name, routed := g.router.Takes(topic)
	links := g.links.Load()
	if !routed || links == nil {
		return routed, false
	}
	c := (*links)[name]
	return true, c != nil && c.uplink.Status().Up
}
