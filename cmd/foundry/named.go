// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"foundry/shim/view"
)

// named is an object that was found by an id.
type named struct {
	in            *instance
	namespace, id string
}

func (n named) path(below string) string {
	return below + "/" + url.PathEscape(n.namespace) + "/" + url.PathEscape(n.id)
}

func (n named) String() string { return n.namespace + "/" + n.id }

// pick finds the one object that an argument means: an id, the beginning of
// one, or NAMESPACE/ID.
func pick(arg string, all []named) (named, error) {
	namespace, id, qualified := strings.Cut(arg, "/")
	if !qualified {
		namespace, id = "", arg
	}
	var exact, begins []named
	for _, n := range all {
		switch {
		case qualified && n.namespace != namespace:
		case n.id == id:
			exact = append(exact, n)
		case strings.HasPrefix(n.id, id) && id != "":
			begins = append(begins, n)
		}
	}
	if len(exact) == 0 {
		exact = begins
	}
	switch len(exact) {
	case 0:
		return named{}, fmt.Errorf("find container %q: no server knows it (foundry ps -a lists those that there are and were)", arg)
	case 1:
		return exact[0], nil
	}
	var names []string
	for _, n := range exact {
		names = append(names, n.String()+" in "+n.in.short())
	}
	return named{}, fmt.Errorf("find container %q: it may be %s (write NAMESPACE/ID, or choose with --instance)", arg, strings.Join(names, ", "))
}

// container finds a container that is there.
func (a *app) container(ctx context.Context, arg string) (named, error) {
	all, err := a.listed(ctx, "")
	if err != nil {
		return named{}, err
	}
	return pick(arg, namesOf(all))
}

// namesOf are the names of containers, in their order.
func namesOf(all []listed) []named {
	var names []named
	for _, c := range all {
		names = append(names, named{c.in, c.Namespace, c.ID})
	}
	return names
}

// record finds a container that is, or was, there.
func (a *app) record(ctx context.Context, arg string) (named, error) {
	all, err := a.flown(ctx)
	if err != nil {
		return named{}, err
	}
	var names []named
	for _, f := range all {
		names = append(names, named{f.in, f.Namespace, f.ID})
	}
	return pick(arg, names)
}

// listed is a container and where it is.
type listed struct {
	in *instance
	view.Container
}

// listed asks all instances for their containers.
func (a *app) listed(ctx context.Context, query string) ([]listed, error) {
	servers, err := a.find(ctx)
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, in := range servers {
		var list []view.Container
		if err := in.get(ctx, view.Containers+query, &list); err != nil {
			return nil, err
		}
		for _, c := range list {
			all = append(all, listed{in, c})
		}
	}
	return all, nil
}

// flown is a flight record and where it is.
type flown struct {
	in *instance
	view.Flight
}

func (a *app) flown(ctx context.Context) ([]flown, error) {
	servers, err := a.find(ctx)
	if err != nil {
		return nil, err
	}
	var all []flown
	for _, in := range servers {
		var list []view.Flight
		if err := in.get(ctx, view.Flights, &list); err != nil {
			return nil, err
		}
		for _, f := range list {
			all = append(all, flown{in, f})
		}
	}
	return all, nil
}

// completeIDs offers the containers, also those that are gone when asked for
// by gone.
func (a *app) completeIDs(gone bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var ids []cobra.Completion
		flights, _ := a.flown(cmd.Context()) // a shell has no use for an error
		for _, f := range flights {
			if gone || f.Gone == nil {
				ids = append(ids, f.ID)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
