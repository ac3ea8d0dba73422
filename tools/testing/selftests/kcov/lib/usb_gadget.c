// SPDX-License-Identifier: GPL-2.0
/* A USB device that this program emulates; see usb_gadget.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/usb/ch9.h>
#include <linux/usb/raw_gadget.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "usb_gadget.h"

#define RAW_GADGET	"/dev/raw-gadget"
#define BUSES		"/sys/bus/usb/devices"
#define CONTROLLER	"dummy_hcd.0"

static const struct usb_device_descriptor device = {
	.bLength = USB_DT_DEVICE_SIZE,
	.bDescriptorType = USB_DT_DEVICE,
	.bcdUSB = 0x0200,
	.bDeviceClass = USB_CLASS_VENDOR_SPEC,
	.bMaxPacketSize0 = 64,
	.idVendor = 0xf055,
	.idProduct = 0xc0de,
	.bNumConfigurations = 1,
};

static const struct {
	struct usb_config_descriptor config;
	struct usb_interface_descriptor interface;
} configuration = {
	.config = {
		.bLength = USB_DT_CONFIG_SIZE,
		.bDescriptorType = USB_DT_CONFIG,
		.wTotalLength = USB_DT_CONFIG_SIZE + USB_DT_INTERFACE_SIZE,
		.bNumInterfaces = 1,
		.bConfigurationValue = 1,
		.bmAttributes = USB_CONFIG_ATT_ONE | USB_CONFIG_ATT_SELFPOWER,
		.bMaxPower = 50,
	},
	.interface = {
		.bLength = USB_DT_INTERFACE_SIZE,
		.bDescriptorType = USB_DT_INTERFACE,
		.bInterfaceClass = USB_CLASS_VENDOR_SPEC,
	},
};

const char *usb_gadget_missing(void)
{
	if (access(RAW_GADGET, R_OK | W_OK))
		return "no " RAW_GADGET " (CONFIG_USB_RAW_GADGET)";
	if (usb_gadget_bus() < 0)
		return "no host controller in software (CONFIG_USB_DUMMY_HCD)";
	return NULL;
}

int usb_gadget_bus(void)
{
	struct dirent *entry;
	int bus = -ENODEV;
	DIR *buses = opendir(BUSES);

	if (!buses)
		return -errno;
	while ((entry = readdir(buses))) {
		char path[512], serial[64] = "";
		FILE *file;
		int number;

		if (sscanf(entry->d_name, "usb%d", &number) != 1)
			continue;
		snprintf(path, sizeof(path), BUSES "/%s/serial", entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fgets(serial, sizeof(serial), file) &&
		    !strncmp(serial, CONTROLLER, strlen(CONTROLLER)))
			bus = number;
		fclose(file);
	}
	closedir(buses);
	return bus;
}

struct control_event {
	struct usb_raw_event event;
	struct usb_ctrlrequest request;
};

struct reply {
	struct usb_raw_ep_io io;
	char data[256];
};

static void stall(struct usb_gadget *gadget)
{
	ioctl(gadget->fd, USB_RAW_IOCTL_EP0_STALL, 0);
}

static void answer(struct usb_gadget *gadget, const struct usb_ctrlrequest *request,
		   const void *data, size_t size)
{
	struct reply reply = { .io.length = size };

	if (request->wLength < size)
		reply.io.length = request->wLength;
	memcpy(reply.data, data, reply.io.length);
	ioctl(gadget->fd, USB_RAW_IOCTL_EP0_WRITE, &reply);
}

static void on_control(struct usb_gadget *gadget, const struct usb_ctrlrequest *request)
{
	struct reply reply = { .io.length = 0 };

	gadget->asked = true;
	while (gadget->hold && !gadget->finished)
		usleep(1000);
	switch (request->bRequest) {
	case USB_REQ_GET_DESCRIPTOR:
		if (request->wValue >> 8 == USB_DT_DEVICE)
			answer(gadget, request, &device, sizeof(device));
		else if (request->wValue >> 8 == USB_DT_CONFIG)
			answer(gadget, request, &configuration, sizeof(configuration));
		else
			stall(gadget);
		break;
	case USB_REQ_SET_CONFIGURATION:
		ioctl(gadget->fd, USB_RAW_IOCTL_VBUS_DRAW, configuration.config.bMaxPower);
		ioctl(gadget->fd, USB_RAW_IOCTL_CONFIGURE, 0);
		ioctl(gadget->fd, USB_RAW_IOCTL_EP0_READ, &reply);
		gadget->configured = true;
		break;
	default:
		stall(gadget);
		break;
	}
}

static void *gadget_main(void *data)
{
	struct usb_gadget *gadget = data;

	while (!gadget->finished) {
		struct control_event control = {
			.event.length = sizeof(control.request),
		};

		/* The signal interrupts this when the device is unplugged. */
		if (ioctl(gadget->fd, USB_RAW_IOCTL_EVENT_FETCH, &control) < 0)
			continue;
		if (control.event.type == USB_RAW_EVENT_CONTROL)
			on_control(gadget, &control.request);
	}
	return NULL;
}

static void on_signal(int signal)
{
}

int usb_gadget_plug_in(struct usb_gadget *gadget)
{
	struct usb_raw_init init = {
		.driver_name = "dummy_udc",
		.device_name = "dummy_udc.0",
		.speed = USB_SPEED_HIGH,
	};
	struct sigaction action = { .sa_handler = on_signal };
	int error;

	sigaction(SIGUSR1, &action, NULL);
	gadget->asked = false;
	gadget->configured = false;
	gadget->finished = false;
	gadget->fd = open(RAW_GADGET, O_RDWR | O_CLOEXEC);
	if (gadget->fd < 0)
		return -errno;
	if (ioctl(gadget->fd, USB_RAW_IOCTL_INIT, &init) ||
	    ioctl(gadget->fd, USB_RAW_IOCTL_RUN, 0))
		error = errno;
	else
		error = pthread_create(&gadget->thread, NULL, gadget_main, gadget);
	if (error)
		close(gadget->fd);
	return -error;
}

bool usb_gadget_wait(const volatile bool *flag)
{
	int i;

	for (i = 0; i < 2000 && !*flag; i++)
		usleep(5000);
	return *flag;
}

bool usb_gadget_unplug(struct usb_gadget *gadget)
{
	struct timespec soon;
	int i = 0;

	gadget->finished = true;
	/* The signal may come before the call that it is meant to interrupt. */
	do {
		if (++i > 4000)
			return false;
		pthread_kill(gadget->thread, SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 5000000;
		if (soon.tv_nsec >= 1000000000) {
			soon.tv_nsec -= 1000000000;
			soon.tv_sec++;
		}
	} while (pthread_timedjoin_np(gadget->thread, NULL, &soon));
	close(gadget->fd);
	return true;
}
