/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A USB device that this program pretends to be: the host controller, the hub
 * and their driver are the kernel's, and so is the coverage.
 */
#ifndef KCOV_SELFTEST_USB_GADGET_H
#define KCOV_SELFTEST_USB_GADGET_H

#include <pthread.h>
#include <stdbool.h>

struct usb_gadget {
	int fd;
	pthread_t thread;
	/* Set before usb_gadget_plug_in(): wait with the answer to the host. */
	volatile bool hold;
	/* The host has asked for something, and waits if hold is set. */
	volatile bool asked;
	/* The host has configured the device. */
	volatile bool configured;
	volatile bool finished;
};

/* NULL when this kernel has the drivers for it, or the reason why not. */
const char *usb_gadget_missing(void);
/* The number of the bus that the device will be on, or a negative errno. */
int usb_gadget_bus(void);
/* The device appears on the bus; a negative errno when it does not. */
int usb_gadget_plug_in(struct usb_gadget *gadget);
/* Waits, for seconds at most, until the flag is set. */
bool usb_gadget_wait(const volatile bool *flag);
/* The device is gone; false if its thread does not end. */
bool usb_gadget_unplug(struct usb_gadget *gadget);

#endif
