// SPDX-License-Identifier: Apache-2.0

package veth_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"

	"foundry/datapath/veth"
)

func ExampleCreate() {
	ns, err := veth.OpenNS("/run/netns/web")
	if err != nil {
		log.Fatal(err)
	}
	defer ns.Close()
	pair, err := veth.Create(veth.Config{Name: "fe-web", NS: ns, MAC: [6]byte{2, 0, 0, 0, 0, 1}, MTU: 1450,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("endpoint", pair.Ifindex)
}

func ExampleNS_Do() {
	ns, err := veth.NewNS()
	if err != nil {
		log.Fatal(err)
	}
	defer ns.Close()
	err = ns.Do(func() error {
		_, err := veth.CollectMD("vx", 4789)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleWatch() {
	err := veth.Watch(context.Background(), func(e veth.Event) {
		switch e.Kind {
		case veth.Resync: // read everything, and keep it true with what follows
		case veth.LinkGone:
			fmt.Println(e.Name, "is gone")
		}
	})
	if err != nil {
		log.Fatal(err)
	}
}
