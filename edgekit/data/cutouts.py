"""Which files of which Debian packages composed scenes are made of, and who belongs to which split.

Written by hand after looking at every picture: photographs only. Drawings, mirrored twins,
pictures under 45 pixels and things that a person would not name with certainty are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Split = Literal["calibration", "training", "evaluation"]


def _words(text: str, separator: str = " ") -> list[str]:
    return text.split(separator)


RULE = 1  # raise it when a table or the drawing of scenes changes: other pictures for the same seed

# The order of the labels of PicoDet and all COCO detectors of PaddleDetection.
COCO_LABELS: tuple[str, ...] = tuple(
    _words(
        "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
        "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,"
        "handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,"
        "surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,"
        "broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,"
        "mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,"
        "teddy bear,hair drier,toothbrush",
        ",",
    )
)

CUTOUT_PACKAGE = "tuxpaint-stamps-default"
CUTOUT_PREFIX = "usr/share/tuxpaint/stamps/"

# COCO class -> {folder: stems of the .png files}
_COCO: dict[str, dict[str, str]] = {
    "person": {"people": "fireman200b fireman240a"},
    "car": {"vehicles/auto": "beetle sedan sportscar2"},
    "airplane": {"vehicles/flight/planes": "747", "military/vehicles": "f22_raptor"},
    "bus": {"vehicles/masstransit": "green_korean_bus"},
    "truck": {"vehicles/auto": "truck", "vehicles": "garbagetruck", "vehicles/emergency": "firetruck"},
    "boat": {"vehicles/ship": "chineseJunk walnutBoat"},
    "stop sign": {"town/roadsigns": "stop"},
    "bird": {
        "animals/birds": "adelaide-rosella albino_peahen blackbird chicken_profile crow crowned_crane cuckoo "
        "drake duck gander guineafowl helmeted_guineafowl hen heron_greatblue heron_greatblue_flying lark "
        "little-penguin magellanic_penguin magpie nandou ostrich owl peacock pelican penguin pigeon "
        "pink_flamingo quetzal rainbow-lorikeet rooster seagull silver-gull tucan turkey vulture"
    },
    "dog": {"animals/mammals/dogs": "dingo dog"},
    "horse": {"animals/mammals/equines": "horse"},
    "sheep": {"animals/mammals/bovines": "ram sheep sheep_lamb"},
    "cow": {"animals/mammals/bovines": "bull cow cow_white zebu"},
    "elephant": {"animals/mammals": "elephant"},
    "bear": {"animals/mammals/bears": "bear european-bear"},
    "zebra": {"animals/mammals/equines": "zebra"},
    "giraffe": {"animals/mammals": "giraffe"},
    "sports ball": {"sports": "basketball cricketball soccer tennis_ball"},
    "tennis racket": {"sports": "tennis_racket"},
    "cup": {"household/dishes": "mug"},
    "banana": {"food/fruit": "banana"},
    "apple": {
        "food/fruit": "apple_fuji apple_granny_smith apple_green apple_red apple_sierra_beauty",
    },
    "orange": {"food/fruit": "mandarine orange orange_seville sliced_orange"},
    "broccoli": {"food/vegetables": "broccoli"},
    "carrot": {"food/vegetables": "carrot"},
    "toilet": {"household": "toilet"},
    "scissors": {"household/arttools": "scissors_small_closed scissors_small_open"},
    "teddy bear": {"animals/mammals/bears/toys": "edward_bear"},
}

# Photographs of things that are no COCO class: pictures for classification, variety for calibration.
_OTHER: dict[str, str] = {
    "animals/amphibians": "frog frog-1",
    "animals/fish": "bluegroper butterflyfish clownfish coraltrout dolphinfish lionfish lobster moonwrasse "
    "seahorse shrimp stripedfish",
    "animals/insects": "Brown_slug Woodlouse grasshopper hornet hoverfly mantis xanthia",
    "animals/lizards": "iguana",
    "animals/mammals": "badger ferret hippopotamus pig pig_golden pig_golden2 rabbit_little "
    "rhino_black wildboar",
    "animals/mammals/apes": "chimp gorilla tamarin_emperor",
    "animals/mammals/aquatic": "dolphin orca otter sea_lion whale",
    "animals/mammals/bovines": "bison gnu-baby gnu-baby-stand gnu-sitting gnu-stand goat indian_blackbuck "
    "mountaingoat yak",
    "animals/mammals/camel": "camel dromedary",
    "animals/mammals/cats": "lion lion-2 tiger tiger_sumatran",
    "animals/mammals/deer": "caribou deer doe wapiti",
    "animals/mammals/dogs": "fox",
    "animals/mammals/equines": "donkey donkey_eating",
    "animals/mammals/rodents": "beaver capybara marmot mouse rabbit rabbit-2 rat squirrel",
    "animals/marsupials": "kangaroo koala wombat",
    "animals/shellfish": "abalone murray-mussel",
    "clothes": "clothespin_new clothespin_old",
    "food/fruit": "Apricot_whole Cherry_Stella Strawberry2 apricot avocado cherimoya grapes kiwi lemon mango "
    "pear pineapple pomegranate raspberry sliced_lime strawberry",
    "food/nuts": "almond pecan walnut",
    "food/spices": "ginger",
    "food/vegetables": "chilepepper corn eggplant garlic garlics lettuce mushroom onion pattypan_squash "
    "pepper potato pumpkin_small redlettuce yam yellowpepper",
    "hobbies": "binoculars camera_35mm",
    "hobbies/music/brass": "trumpet",
    "hobbies/music/percussion": "cymbal_crash drum_tomtom_floor drumkit",
    "hobbies/music/string": "cello guitar2 guitar_classical guitar_electric guitar_electric_bass violin",
    "hobbies/music/wind": "bassoon",
    "household": "Lightbulb cylinder garbagecan home_compost_bin kettle rubberduck wheelie_bin",
    "household/arttools": "highlighter pen_dryerase",
    "household/dishes": "pitcher_small teapot",
    "household/dishes/utensils": "nutcracker pepper_grinder",
    "household/tools": "cementmixer hammer mallet_metal measuring_tape paintbrush_large plyers saw spade "
    "toolbox wrench wrench_adjustable wrench_plumbers",
    "medical": "bandage_adhesive mercurythermometer stethoscope syringe",
    "military/vehicles": "bradley infantry-stryker ww2_german_gun",
    "plants/flowers": "adeenia anemone_red anthoorium bolsom chemparathi daffodil flower1 flower10 flower2 "
    "flower3 flower4 flower5 flower6 flower7 flower8 flower9 iris marigold pigface red-gazania rose "
    "whitestar-petunia yellow-flower",
    "plants/mushrooms": "cep cep-1 cep-2",
    "plants/trees": "holm_oak liberia-palm pinecone rambutan tree336",
    "space/moon": "moon_3qt moon_full",
    "space/planets": "2_venus 3_earth 4_mars 5_jupiter",
    "sports": "australian_rules_football football trophy_cup",
    "town": "uk_post_box usps_mailbox",
    "town/monuments": "inukshuk-photo",
    "town/roadsigns": "dead_end_sign no_entry_sign school_sign traffic_cone",
    "vehicles": "7spoke256 wheel_tractor",
    "vehicles/construction": "dumper",
    "vehicles/cycle": "pink_tricycle",
    "vehicles/flight": "balloon360",
    "vehicles/race": "indycar",
}

# Lettering or a national shape: a mirrored one does not exist in the world.
_LETTERING = (
    "town/roadsigns/stop vehicles/masstransit/green_korean_bus vehicles/auto/truck vehicles/garbagetruck "
    "vehicles/emergency/firetruck vehicles/flight/planes/747 hobbies/camera_35mm "
    "household/arttools/highlighter household/arttools/pen_dryerase household/tools/measuring_tape "
    "household/tools/toolbox "
    "sports/australian_rules_football sports/cricketball town/uk_post_box town/usps_mailbox "
    "town/roadsigns/school_sign space/planets/3_earth vehicles/race/indycar vehicles/7spoke256 "
    "vehicles/construction/dumper"
)

# Package -> one file of each distinct picture. Left out: pictures that show things of COCO classes
# (dogs, birds, elephants, clocks, cups, boats, chairs), mascots, plain black ones, and all but one
# (Silk) of those that are white to the eye.
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "gnome-backgrounds": tuple(
        f"usr/share/backgrounds/gnome/{stem}.webp"
        for stem in _words("adwaita-l grid-l licorice-l symbolic-l truchet-l wood-l")
    ),
    "lomiri-wallpapers-16.04": tuple(
        f"usr/share/backgrounds/{stem}.jpg"
        for stem in _words(
            "Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Picture_1A_by_freespace "
            "aitzgorri_by_Aitzol_Berasategi analogpattern_by_Peter_Nerlich life_by_Aitzol_Berasategi "
            "picosdeeuropa_by_Aitzol_Berasategi seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi "
            "umang_by_Abhishek_Mudgal"
        )
    ),
    "mate-backgrounds": tuple(
        f"usr/share/backgrounds/mate/{name}"
        for name in _words(
            "abstract/Silk.png desktop/Stripes.png desktop/Ubuntu-Mate-Cold-no-logo.png "
            "nature/Aqua.jpg nature/Blinds.jpg nature/Dune.jpg nature/FreshFlower.jpg nature/Garden.jpg "
            "nature/GreenMeadow.jpg nature/LadyBird.jpg nature/RainDrops.jpg nature/Storm.jpg "
            "nature/TwoWings.jpg nature/Wood.jpg nature/YellowFlower.jpg"
        )
    ),
    "plasma-workspace-wallpapers": tuple(
        f"usr/share/wallpapers/{name.replace(':', '/contents/images/')}"
        for name in _words(
            "Altai:5120x2880.png BytheWater:2560x1600.jpg Canopee:3840x2160.png "
            "Cascade:3840x2160.png Cluster:3840x2160.png ColdRipple:2560x1600.jpg DarkestHour:2560x1600.jpg "
            "Elarun:2560x1600.png FallenLeaf:2560x1600.jpg Flow:5120x2880.jpg Grey:2560x1600.jpg "
            "Honeywave:5120x2880.jpg IceCold:5120x2880.png Kay:5120x2880.png Kokkini:3840x2160.png "
            "MilkyWay:5120x2880.png OneStandsOut:2560x1600.jpg Opal:3840x2160.png PastelHills:3200x2000.jpg "
            "Path:2560x1600.jpg Shell:5120x2880.jpg Volna:5120x2880.jpg summer_1am:2560x1600.jpg"
        )
    ),
    "ukui-wallpapers": tuple(
        f"usr/share/backgrounds/{name}"
        for name in _words(
            "2004default.jpg calla.png city.png desert.png fluent-color.png rhythm.jpg rollpaper.png "
            "string.jpg"
        )
    ),
}


def _files(folder: str, stems: str) -> list[str]:
    return [f"{folder}/{stem}.png" for stem in _words(stems)]


# file below CUTOUT_PREFIX -> COCO label
COCO: dict[str, str] = {
    file: label
    for label, folders in _COCO.items()
    for folder, stems in folders.items()
    for file in _files(folder, stems)
}
OTHER: tuple[str, ...] = tuple(file for folder, stems in _OTHER.items() for file in _files(folder, stems))
LETTERING: frozenset[str] = frozenset(f"{stem}.png" for stem in _words(_LETTERING))


def round_robin(names: Iterable[str]) -> dict[str, Split]:
    """name -> split: in sorted order evaluation, training, calibration, evaluation, ..."""
    turn: tuple[Split, ...] = ("evaluation", "training", "calibration")
    return {name: turn[i % 3] for i, name in enumerate(sorted(names))}


def cutout_splits() -> dict[str, Split]:
    """Every cut-out of the tables -> its split, dealt out class by class (no COCO class counts as one).

    So each COCO class has at least one cut-out in evaluation; one with a single cut-out is only there.
    """
    classes: dict[str | None, list[str]] = {None: list(OTHER)}
    for file, label in COCO.items():
        classes.setdefault(label, []).append(file)
    return {file: split for files in classes.values() for file, split in round_robin(files).items()}


def background_splits() -> dict[str, Split]:
    """Every background file -> its split, dealt out over all packages."""
    return round_robin(file for files in BACKGROUNDS.values() for file in files)
