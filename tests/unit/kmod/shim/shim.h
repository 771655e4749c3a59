/* SPDX-License-Identifier: MIT */
/*
 * What kmod/ takes of the Linux kernel, for its files as they are in a test's process: types and calls as 6.1 has them,
 * as far as they are used. world.c has the memory, the grant table, xenstore and the devices behind them (world.h).
 *
 * Threads: one. Allocations fail when they are told to; addresses are those of an arena of pages.
 */
#ifndef GRANTIO_TESTS_KMOD_SHIM_H
#define GRANTIO_TESTS_KMOD_SHIM_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64; /* as in the kernel: printed by %llu */
typedef int64_t s64;
typedef u64 phys_addr_t;
typedef u64 dma_addr_t;
typedef unsigned gfp_t;
typedef u32 grant_ref_t;
typedef u16 domid_t;
typedef u32 evtchn_port_t;

#define __iomem
#define __init
#define __exit
#define __acquires(x)
#define __releases(x)
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE	KERNEL_VERSION(6, 1, 0)
#define IS_ENABLED(x)		(x) /* of what is defined below, and else 0: asked in #if only */
#define CONFIG_PM		1
#define CONFIG_PM_SLEEP		1
#define CONFIG_OF_IOMMU		0
#define CONFIG_PCI		0
#define CONFIG_XEN_VIRTIO	0
#define CONFIG_XEN_PV		0
#define CONFIG_VIRTIO_ANCHOR	1
#define U32_MAX			UINT32_MAX
#define HZ			250
#define SZ_1M			0x100000u
#define PAGE_SHIFT		12
#define PAGE_SIZE		4096ul
#define XEN_PAGE_SIZE		4096ul
#define ALIGN(x, a)		(((x) + (a)-1) & ~((__typeof__(x))(a)-1))
#define PAGE_ALIGN(x)		ALIGN((size_t)(x), PAGE_SIZE)
#define PHYS_PFN(x)		((unsigned long)((x) >> PAGE_SHIFT))
#define offset_in_page(p)	((unsigned long)(p) & (PAGE_SIZE - 1))
#define likely(x)		(x)
#define unlikely(x)		(x)
#define min_t(t, a, b)		((t)(a) < (t)(b) ? (t)(a) : (t)(b))
#define clamp_t(t, v, a, b)	((t)(v) < (t)(a) ? (t)(a) : (t)(v) > (t)(b) ? (t)(b) : (t)(v))
#define clamp(v, a, b)		clamp_t(__typeof__(v), v, a, b)
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define BIT(n)			(1u << (n))
#define container_of(p, t, m)	((t *)((char *)(p)-offsetof(t, m)))
#define READ_ONCE(x)		(*(volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile __typeof__(x) *)&(x) = (v))
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define cmpxchg(p, o, n)	__sync_val_compare_and_swap(p, o, n)
#define xchg(p, v)		__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define BUILD_BUG_ON(x)		_Static_assert(!(x), #x)
#define struct_size(p, m, n)	(sizeof(*(p)) + sizeof((p)->m[0]) * (n))
#define typeof __typeof__
#define fallthrough    __attribute__((fallthrough))
#define __maybe_unused __attribute__((unused))
#define smp_mb()       __sync_synchronize()
static inline u32 rounddown_pow_of_two(u32 n)
{
	return 1u << (31 - __builtin_clz(n));
}
#define num_online_cpus()      2u
#define num_possible_cpus()    2u
#define xen_pv_domain()	       false
#define raw_smp_processor_id() 0u
u64 get_random_u64(void);
/* Tests set it by this pointer. */
#define module_param(name, type, mode) __typeof__(name) *shim_param_##name = &name
#define MODULE_PARM_DESC(name, text)
extern bool *shim_param_tree_messages;

/* What is warned of is counted, what is said is not shown. */
extern unsigned shim_warnings, shim_errors;
static inline void shim_say(const char *format, ...)
{
	(void)format;
}
#define WARN_ONCE(condition, ...)              \
	({                                     \
		bool warn_ = (condition);      \
		shim_warnings += warn_;        \
		if (warn_)                     \
			shim_say(__VA_ARGS__); \
		warn_;                         \
	})
#define WARN_ON_ONCE(condition) WARN_ONCE(condition, "")
#define pr_notice		shim_say
#define dev_info(dev, ...)	((void)(dev), shim_say(__VA_ARGS__))
#define dev_err(dev, ...)	((void)(dev), shim_errors++, shim_say(__VA_ARGS__))
#define dev_warn(dev, ...)	((void)(dev), shim_say(__VA_ARGS__))
#define dev_name(dev)		((void)(dev), "device")

extern unsigned long jiffies;
#define time_before(a, b)    ((long)((a) - (b)) < 0)
#define time_after(a, b)     time_before(b, a)
#define msecs_to_jiffies(ms) ((ms)*HZ / 1000ul)
#define ktime_get()	     jiffies
#define ktime_to_ms(t)	     ((t)*1000ul / HZ)
#define IS_ERR(p)	     ((uintptr_t)(p) >= (uintptr_t)-4095)
#define PTR_ERR(p)	     ((int)(intptr_t)(p))
#define ERR_PTR(e)	     ((void *)(intptr_t)(e))

/* ---- memory ----------------------------------------------------------------------------------------------------- */

#define GFP_ATOMIC    1u
#define GFP_KERNEL    2u
#define __GFP_ZERO    4u
#define __GFP_NOWARN  8u
#define __GFP_HIGHMEM 16u
#define __GFP_COMP    32u

struct page {
	int count;
	bool slab, foreign;
	void *mapping;
};
#define SHIM_PAGES 16384u
#define SHIM_PFN   0x100000ul /* of the first */
extern char *shim_arena;
extern struct page shim_pages[SHIM_PAGES];

static inline phys_addr_t __pa(const void *v)
{
	return ((phys_addr_t)SHIM_PFN << PAGE_SHIFT) + (phys_addr_t)((const char *)v - shim_arena);
}
static inline void *__va(phys_addr_t p)
{
	return shim_arena + (p - ((phys_addr_t)SHIM_PFN << PAGE_SHIFT));
}
static inline bool pfn_valid(unsigned long pfn)
{
	return pfn >= SHIM_PFN && pfn < SHIM_PFN + SHIM_PAGES;
}
static inline struct page *pfn_to_page(unsigned long pfn)
{
	return &shim_pages[pfn - SHIM_PFN];
}
static inline phys_addr_t page_to_phys(const struct page *page)
{
	return (phys_addr_t)(SHIM_PFN + (unsigned long)(page - shim_pages)) << PAGE_SHIFT;
}
#define virt_to_page(v)	 pfn_to_page(PHYS_PFN(__pa(v)))
#define page_address(p)	 __va(page_to_phys(p))
#define PageSlab(p)	 ((p)->slab)
#define PageForeign(p)	 ((p)->foreign)
#define compound_head(p) (p)
#define page_count(p)	 ((p)->count)
bool is_vmalloc_addr(const void *v);
#define vmalloc_to_page(v) virt_to_page(v)
#define get_page(p)	   ((p)->count++)
#define put_page(p)	   ((p)->count--)
#define put_device(d)	   ((d)->release(d))
void *alloc_pages_exact(size_t bytes, gfp_t gfp);
void free_pages_exact(void *v, size_t bytes);
#define kmalloc(n, g)	       malloc(n)
#define kzalloc(n, g)	       calloc(1, n)
#define kcalloc(n, s, g)       calloc(n, s)
#define kmalloc_array(n, s, g) calloc(n, s)
#define kfree(p)	       free((void *)(p))
void *vzalloc(size_t bytes);
void vfree(const void *v);
#define kmap_local_page(p)  ((char *)page_address(p))
#define kunmap_local(v)	    ((void)(v))
#define sort(b, n, s, c, x) qsort(b, n, s, c)

/* ---- locks, work, arrays ---------------------------------------------------------------------------------------- */

typedef struct {
	int held;
} spinlock_t;
#define spin_lock_init(l)	     ((l)->held = 0)
#define spin_lock_irqsave(l, f)	     ((f) = 0, (l)->held++)
#define spin_unlock_irqrestore(l, f) ((void)(f), (l)->held--)
struct mutex {
	int held;
};
#define mutex_init(m)	((m)->held = 0)
#define mutex_lock(m)	((m)->held++ ? abort() : (void)0) /* there is one thread */
#define mutex_unlock(m) ((void)(m)->held--)
typedef int wait_queue_head_t;
#define init_waitqueue_head(q) (*(q) = 0)
#define wake_up(q)	       ((void)(q))
/* What is waited for happens at once, or when the time is over. */
#define wait_event_timeout(q, condition, timeout) ((condition) ? (void)(q) : (void)(jiffies += (timeout)))
#define DECLARE_WAIT_QUEUE_HEAD(q)		  wait_queue_head_t q
typedef struct {
	int v;
} atomic_t;
#define ATOMIC_INIT(n) \
	{              \
		n      \
	}
#define atomic_inc(a)	 ((a)->v++)
#define atomic_dec(a)	 ((a)->v--)
#define atomic_read(a)	 ((a)->v)
#define atomic_set(a, x) ((a)->v = (x))
#define atomic_add(n, a) ((a)->v += (int)(n))
#define atomic_sub(n, a) ((a)->v -= (int)(n))
typedef struct {
	s64 v;
} atomic64_t;
#define atomic64_inc(a)	   ((a)->v++)
#define atomic64_set(a, x) ((a)->v = (x))

#define SHIM_XARRAY (1u << 20)
struct xarray {
	void **slot;
};
#define XA_FLAGS_LOCK_IRQ 0
#define DEFINE_XARRAY(n)  struct xarray n
void xa_init_flags(struct xarray *xa, int flags);
void *xa_load(struct xarray *xa, unsigned long i);
void *__xa_store(struct xarray *xa, unsigned long i, void *value, gfp_t gfp);
void *__xa_erase(struct xarray *xa, unsigned long i);
int xa_insert(struct xarray *xa, unsigned long i, void *value, gfp_t gfp);
#define xa_erase(xa, i)		    __xa_erase(xa, i)
#define xa_err(e)		    ((e) ? -ENOMEM : 0)
#define xa_lock_irqsave(xa, f)	    ((void)(xa), (f) = 0)
#define xa_unlock_irqrestore(xa, f) ((void)(xa), (void)(f))

struct work_struct {
	void (*fn)(struct work_struct *work);
};
struct workqueue_struct;
struct delayed_work {
	struct work_struct work;
};
#define to_delayed_work(w)	     container_of(w, struct delayed_work, work)
#define INIT_DELAYED_WORK(w, f)	     ((w)->work.fn = (f))
#define WQ_UNBOUND		     0
#define WQ_MEM_RECLAIM		     0
#define WQ_FREEZABLE		     0
#define memalloc_noio_save()	     0u
#define memalloc_noio_restore(flags) ((void)(flags))
#define alloc_workqueue(...)	     ((struct workqueue_struct *)&shim_warnings)
#define destroy_workqueue(q)	     ((void)(q))
void mod_delayed_work(struct workqueue_struct *queue, struct delayed_work *work, unsigned long delay);
void queue_delayed_work(struct workqueue_struct *queue, struct delayed_work *work, unsigned long delay);
#define system_freezable_wq	    ((struct workqueue_struct *)&shim_warnings)
#define schedule_delayed_work(w, d) queue_delayed_work(system_freezable_wq, w, d)
void cancel_delayed_work_sync(struct delayed_work *work);
struct completion {
	int done;
};
#define complete(c) ((c)->done++)
struct ratelimit_state {
	int left; /* lines; no time goes by here */
};
#define ratelimit_state_init(a, b, c) ((void)(b), (a)->left = (c))
#define __ratelimit(a)		      ((a)->left > 0 && (a)->left--)
#define THIS_MODULE		      NULL
extern int shim_module; /* references */
#define try_module_get(m) (shim_module++, true)
#define module_put(m)	  (shim_module--)

/* ---- devices and DMA -------------------------------------------------------------------------------------------- */

enum dma_data_direction { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_NONE };
#define DMA_MAPPING_ERROR      (~(dma_addr_t)0)
#define DMA_BIT_MASK(n)	       (~0ull >> (64 - (n)))
#define DMA_ATTR_SKIP_CPU_SYNC (1ul << 5)
struct scatterlist {
	phys_addr_t phys;
	unsigned length;
	dma_addr_t dma_address;
	unsigned dma_length;
};
#define for_each_sg(l, s, n, i) for ((i) = 0, (s) = (l); (i) < (n); (i)++, (s)++)
#define sg_phys(s)		((s)->phys)
#define sg_dma_address(s)	((s)->dma_address)
#define sg_dma_len(s)		((s)->dma_length)
struct sg_table {
	struct scatterlist *sgl;
};
#define sg_alloc_table(t, n, g)	  ((void)(t), 0)
#define sg_set_page(s, p, l, o)	  ((void)(s), (void)(p))
#define remap_pfn_range(vma, ...) ((void)(vma), 0)
struct vm_area_struct {
	unsigned long vm_pgoff, vm_start;
	int vm_page_prot;
};
#define vma_pages(v) 1ul

struct device;
struct dev_pm_ops {
	int (*freeze)(struct device *dev), (*thaw)(struct device *dev), (*restore)(struct device *dev);
	int (*suspend)(struct device *dev), (*resume)(struct device *dev), (*poweroff)(struct device *dev);
};
struct dev_pm_domain {
	struct dev_pm_ops ops;
};
struct attribute_group;
struct bus_type;
struct device_driver {
	const char *name;
	const struct bus_type *bus;
	const struct attribute_group **dev_groups;
	const struct dev_pm_ops *pm;
};
struct dma_map_ops;
struct device {
	struct device *parent;
	void *platform_data, *driver_data;
	const struct dma_map_ops *dma_ops;
	u64 *dma_mask;
	u64 coherent_dma_mask;
	struct device_driver *driver;
	struct dev_pm_domain *pm_domain;
	const struct bus_type *bus;
	void (*release)(struct device *dev);
};
struct dma_map_ops {
	void *(*alloc)(struct device *, size_t, dma_addr_t *, gfp_t, unsigned long);
	void (*free)(struct device *, size_t, void *, dma_addr_t, unsigned long);
	struct page *(*alloc_pages)(struct device *, size_t, dma_addr_t *, enum dma_data_direction, gfp_t);
	void (*free_pages)(struct device *, size_t, struct page *, dma_addr_t, enum dma_data_direction);
	int (*mmap)(struct device *, struct vm_area_struct *, void *, dma_addr_t, size_t, unsigned long);
	int (*get_sgtable)(struct device *, struct sg_table *, void *, dma_addr_t, size_t, unsigned long);
	dma_addr_t (*map_page)(struct device *, struct page *, unsigned long, size_t, enum dma_data_direction,
			       unsigned long);
	void (*unmap_page)(struct device *, dma_addr_t, size_t, enum dma_data_direction, unsigned long);
	int (*map_sg)(struct device *, struct scatterlist *, int, enum dma_data_direction, unsigned long);
	void (*unmap_sg)(struct device *, struct scatterlist *, int, enum dma_data_direction, unsigned long);
	void (*sync_single_for_cpu)(struct device *, dma_addr_t, size_t, enum dma_data_direction);
	void (*sync_single_for_device)(struct device *, dma_addr_t, size_t, enum dma_data_direction);
	void (*sync_sg_for_cpu)(struct device *, struct scatterlist *, int, enum dma_data_direction);
	void (*sync_sg_for_device)(struct device *, struct scatterlist *, int, enum dma_data_direction);
	int (*dma_supported)(struct device *, u64);
	u64 (*get_required_mask)(struct device *);
	size_t (*max_mapping_size)(struct device *);
};
#define dev_get_platdata(d)		   ((d)->platform_data)
#define dev_get_drvdata(d)		   ((d)->driver_data)
#define dev_set_drvdata(d, v)		   ((d)->driver_data = (v))
#define set_dma_ops(d, o)		   ((d)->dma_ops = (o))
#define get_dma_ops(d)			   ((d)->dma_ops)
#define dev_pm_domain_set(d, p)		   ((d)->pm_domain = (p))
#define device_lock(d)			   ((void)(d))
#define device_unlock(d)		   ((void)(d))
#define dma_set_mask_and_coherent(d, m)	   ((void)(d), (void)(m), 0)
#define dma_coerce_mask_and_coherent(d, m) ((void)(d), (void)(m), 0)

struct vring_desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};
static inline unsigned vring_size(unsigned num, unsigned long align)
{
	size_t driver = num * sizeof(struct vring_desc) + (3 + num) * sizeof(u16);

	return (unsigned)(ALIGN(driver, align) + 3 * sizeof(u16) + num * 8ul);
}

struct resource {
	u64 start, end;
	int type;
};
#define IORESOURCE_IRQ 2
#define DEFINE_RES_MEM(s, n)        \
	{                           \
		(s), (s) + (n)-1, 1 \
	}
#define DEFINE_RES_IRQ(i)                          \
	{                                          \
		(u64)(i), (u64)(i), IORESOURCE_IRQ \
	}
struct platform_device {
	const char *name;
	struct device dev;
	struct resource resource[2];
};
#define PLATFORM_DEVID_AUTO (-2)
struct platform_device *platform_device_alloc(const char *name, int id);
int platform_device_add_resources(struct platform_device *pdev, const struct resource *resources, unsigned count);
int platform_device_add(struct platform_device *pdev);
void platform_device_put(struct platform_device *pdev);
void platform_device_del(struct platform_device *pdev);
struct resource *platform_get_resource(struct platform_device *pdev, int type, unsigned index);

struct platform_driver {
	int (*remove)(struct platform_device *pdev);
};
struct notifier_block {
	int (*notifier_call)(struct notifier_block *block, unsigned long what, void *opaque);
};
#define BUS_NOTIFY_ADD_DEVICE 1
#define NOTIFY_DONE	      0
#define NOTIFY_OK	      1
int bus_register_notifier(const struct bus_type *bus, struct notifier_block *block);
void bus_unregister_notifier(const struct bus_type *bus, struct notifier_block *block);
int device_for_each_child(struct device *parent, void *data, int (*fn)(struct device *dev, void *data));
struct iommu_device;
struct iommu_ops;

struct virtio_device_id {
	u32 device, vendor;
};
struct list_head {
	struct list_head *next, *prev;
};
#define INIT_LIST_HEAD(l) ((l)->next = (l)->prev = (l))
struct virtio_config_ops;
struct virtio_device {
	struct device dev;
	struct virtio_device_id id;
	const struct virtio_config_ops *config;
	struct list_head vqs;
	spinlock_t vqs_list_lock;
	u64 features;
	bool broken;
};
struct virtqueue {
	void (*callback)(struct virtqueue *vq);
	const char *name;
	struct virtio_device *vdev;
	unsigned index, num_max;
	void *priv;
	/* The core's own. */
	bool (*notify)(struct virtqueue *vq);
	const u16 *used;
	u16 seen;
	unsigned events;
};
typedef void vq_callback_t(struct virtqueue *vq);
struct irq_affinity;
struct virtio_config_ops {
	void (*get)(struct virtio_device *, unsigned, void *, unsigned);
	void (*set)(struct virtio_device *, unsigned, const void *, unsigned);
	u32 (*generation)(struct virtio_device *);
	u8 (*get_status)(struct virtio_device *);
	void (*set_status)(struct virtio_device *, u8);
	void (*reset)(struct virtio_device *);
	int (*find_vqs)(struct virtio_device *, unsigned, struct virtqueue **, vq_callback_t **, const char *const *,
			const bool *, struct irq_affinity *);
	void (*del_vqs)(struct virtio_device *);
	void (*synchronize_cbs)(struct virtio_device *);
	u64 (*get_features)(struct virtio_device *);
	int (*finalize_features)(struct virtio_device *);
	const char *(*bus_name)(struct virtio_device *);
};
#define VIRTIO_CONFIG_S_NEEDS_RESET 64u
struct virtio_blk_config {
	u64 capacity;
	u32 size_max, seg_max;
};
int register_virtio_device(struct virtio_device *vdev);
void unregister_virtio_device(struct virtio_device *vdev);
int virtio_device_freeze(struct virtio_device *vdev);
int virtio_device_restore(struct virtio_device *vdev);
void virtio_config_changed(struct virtio_device *vdev);
struct virtqueue *vring_new_virtqueue(unsigned index, unsigned num, unsigned align, struct virtio_device *vdev,
				      bool weak_barriers, bool ctx, void *pages, bool (*notify)(struct virtqueue *),
				      void (*callback)(struct virtqueue *), const char *name);
#define vring_del_virtqueue(vq)	    free(vq)
#define vring_transport_features(v) ((void)(v))
#define __virtio_test_bit(v, bit)   ((v)->features >> (bit)&1)
struct virtio_driver {
	struct device_driver driver;
	const struct virtio_device_id *id_table;
	int (*probe)(struct virtio_device *vdev);
	void (*remove)(struct virtio_device *vdev);
	int (*freeze)(struct virtio_device *vdev);
};
extern bool (*virtio_check_mem_acc_cb)(struct virtio_device *vdev);
#define smp_store_release(p, v)	   __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define synchronize_rcu_tasks()	   ((void)0)
#define dev_to_virtio(d)	   container_of(d, struct virtio_device, dev)
#define drv_to_virtio(d)	   container_of(d, struct virtio_driver, driver)
#define __virtio_clear_bit(v, bit) ((v)->features &= ~(1ull << (bit)))
#define virtio_break_device(v)	   ((void)((v)->broken = true))
int register_virtio_driver(struct virtio_driver *driver);
#define unregister_virtio_driver(d) ((void)(d))

/* ---- Xen -------------------------------------------------------------------------------------------------------- */

int gnttab_alloc_grant_references(u16 count, grant_ref_t *head);
int gnttab_claim_grant_reference(grant_ref_t *head);
void gnttab_free_grant_reference(grant_ref_t ref);
unsigned gnttab_max_grant_frames(void);
void gnttab_grant_foreign_access_ref(grant_ref_t ref, domid_t domid, unsigned long gfn, int readonly);
int gnttab_end_foreign_access_ref(grant_ref_t ref);
int gnttab_try_end_foreign_access(grant_ref_t ref);
void gnttab_end_foreign_access(grant_ref_t ref, struct page *page);

typedef int irqreturn_t;
#define IRQ_NONE    0
#define IRQ_HANDLED 1
#define IRQF_SHARED 1
typedef irqreturn_t (*irq_handler_t)(int irq, void *dev_id);
irqreturn_t vring_interrupt(int irq, void *vq);
int bind_evtchn_to_irqhandler_lateeoi(evtchn_port_t port, irq_handler_t handler, unsigned long flags, const char *name,
				      void *dev_id);
#define XEN_EOI_FLAG_SPURIOUS 1u
void xen_irq_lateeoi(unsigned irq, unsigned flags);
void notify_remote_via_irq(int irq);
#define synchronize_irq(irq) ((void)(irq))
int bind_evtchn_to_irqhandler(evtchn_port_t port, irqreturn_t (*handler)(int, void *), unsigned long flags,
			      const char *name, void *dev_id);
void unbind_from_irqhandler(unsigned irq, void *dev_id);

enum xenbus_state {
	XenbusStateUnknown,
	XenbusStateInitialising,
	XenbusStateInitWait,
	XenbusStateInitialised,
	XenbusStateConnected,
	XenbusStateClosing,
	XenbusStateClosed
};
struct xenbus_device {
	const char *devicetype, *nodename, *otherend;
	int otherend_id;
	enum xenbus_state state;
	struct device dev;
	struct completion down;
};
struct xenbus_device_id {
	char devicetype[32];
};
struct xenbus_driver {
	const char *name;
	const struct xenbus_device_id *ids;
	bool allow_rebind, not_essential;
	int (*probe)(struct xenbus_device *xbdev, const struct xenbus_device_id *id);
	void (*otherend_changed)(struct xenbus_device *xbdev, enum xenbus_state state);
	int (*remove)(struct xenbus_device *xbdev);
	int (*resume)(struct xenbus_device *xbdev);
	struct device_driver driver;
};
struct xenbus_transaction {
	u32 id;
};
#define XBT_NIL		     ((struct xenbus_transaction){0})
#define DOMID_FIRST_RESERVED 0x7ff0
#define to_xenbus_device(d)  container_of(d, struct xenbus_device, dev)
char *xenbus_read(struct xenbus_transaction xbt, const char *dir, const char *key, unsigned *len);
unsigned xenbus_read_unsigned(const char *dir, const char *key, unsigned otherwise);
__attribute__((format(printf, 4, 5))) int xenbus_printf(struct xenbus_transaction xbt, const char *dir, const char *key,
							const char *format, ...);
int xenbus_transaction_start(struct xenbus_transaction *xbt);
int xenbus_transaction_end(struct xenbus_transaction xbt, int abort);
int xenbus_switch_state(struct xenbus_device *xbdev, enum xenbus_state state);
int xenbus_alloc_evtchn(struct xenbus_device *xbdev, evtchn_port_t *port);
int xenbus_free_evtchn(struct xenbus_device *xbdev, evtchn_port_t port);
__attribute__((format(printf, 3, 4))) void xenbus_dev_error(struct xenbus_device *xbdev, int error, const char *format,
							    ...);
int xenbus_register_frontend(struct xenbus_driver *driver);
#define xenbus_unregister_driver(d) ((void)(d))

#define IORESOURCE_SYSTEM_RAM	0
#define IORES_DESC_NONE		0
#define REGION_DISJOINT		1
#define region_intersects(...)	REGION_DISJOINT
#define request_mem_region(...) true
#define release_mem_region(...) ((void)0)
#define ioremap(b, s)		((void *)(uintptr_t)(b))
#define iounmap(r)		((void)(r))
u32 readl(const void *addr);
#define writel(value, addr)		((void)(addr))
#define VIRTIO_MMIO_MAGIC_VALUE		0x0
#define VIRTIO_MMIO_VERSION		0x4
#define VIRTIO_MMIO_DEVICE_ID		0x8
#define VIRTIO_MMIO_DEVICE_FEATURES	0x10
#define VIRTIO_MMIO_DEVICE_FEATURES_SEL 0x14
#define VIRTIO_F_VERSION_1		32
#define VIRTIO_F_ACCESS_PLATFORM	33
#define VIRTIO_ID_BLOCK			2
int kstrtou64(const char *text, unsigned base, u64 *value);

#endif
