package localbroker

import (
	"net/http"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/localbroker/rest"
)

// requestQuotas are the quotas of pace of operations over HTTP.
var requestQuotas = map[bridge.Action]quota{
	bridge.ActionGetRetained: quotaGetRetained, bridge.ActionListRetained: quotaListRetained,
	bridge.ActionDeleteConnection: quotaDeleteConnection, bridge.ActionGetConnection: quotaGetConnection,
	bridge.ActionListSubscriptions: quotaListSubscriptions, bridge.ActionSendDirect: quotaDirect,
}

// requestBuckets are the quotas of one client id among them.
func (o *AccountQuotas) requestBuckets() map[quota]*keyed {
	return map[quota]*keyed{
		quotaDeleteConnection:  {rate: o.DeleteConnPerClient},
		quotaGetConnection:     {rate: o.GetConnPerClient},
		quotaListSubscriptions: {rate: o.ListSubsPerClient},
	}
}

// paced takes one from an operation's quotas: that of the account, and that of
// the client id that it is about (Q30, Q31, Q46-Q49).
func (c *httpClient) paced(action bridge.Action, clientID string) error {
	q, p, k := c.broker.quotas, c.profile.pace, requestQuotas[action]
	if p == paceIgnores {
		return nil
	}
	who, _ := c.who()
	e := quotaExample{client: who.Name(), listener: c.listener.name}
	if clientID != "" {
		e.name = "about client " + clientID
	}
	pass := q.takes(k, q.account[k], p, e)
	if one := q.requests[k]; pass && one != nil && !one.allow(clientID, q.now()) {
		e.limit = one.rate
		pass = q.above(k, p, 1, e)
	}
	if pass {
		return nil
	}
	c.broker.drops.Count("request-rate", who.Name(), clientID)
	return &rest.Refusal{Status: http.StatusTooManyRequests, Text: "too many requests of this kind"}
}

// pacePublish takes a publish over HTTP from the account's quotas (Q20, Q28,
// Q29). That of a connection (Q06) is MQTT's: each request could be one.
func (c *httpClient) pacePublish(who *bridge.Principal, m *bridge.Message) *refusal {
	if c.profile.pace == paceIgnores {
		return nil
	}
	k, limit, refused := c.broker.quotas.publish(m.Topic, m.Retain)
	e := quotaExample{client: who.Name(), listener: c.listener.name, name: "topic " + m.Topic, limit: limit}
	if refused == nil || c.broker.quotas.above(k, c.profile.pace, 1, e) {
		return nil
	}
	return refused
}
